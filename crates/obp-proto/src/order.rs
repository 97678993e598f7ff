//! The order of SRV records and of instances, which is partly chance (RFC 2782, "Usage rules").

use rand::RngExt as _;
use rand::rngs::StdRng;

/// Puts what has a priority and a weight (in that order, as `of` says) in the order in which it should be tried: lower
/// priorities first, and within one by chance, each next one being drawn with its weight's share. An item of weight 0
/// has a small chance only while others have weight.
pub fn by_priority_and_weight<T>(items: &mut [T], rng: &mut StdRng, of: impl Fn(&T) -> (u16, u16)) {
    items.sort_by_key(|item| {
        let (priority, weight) = of(item);
        (priority, weight)
    });
    let mut from = 0;
    while let Some(first) = items.get(from) {
        let priority = of(first).0;
        let until = items.iter().skip(from).take_while(|item| of(item).0 == priority).count() + from;
        if let Some(class) = items.get_mut(from..until) {
            draw(class, rng, &of);
        }
        from = until;
    }
}

fn draw<T>(class: &mut [T], rng: &mut StdRng, of: &impl Fn(&T) -> (u16, u16)) {
    for start in 0..class.len().saturating_sub(1) {
        let Some(rest) = class.get_mut(start..) else { return };
        let total: u32 = rest.iter().map(|item| u32::from(of(item).1)).sum();
        let chosen = if total == 0 {
            rng.random_range(0..rest.len())
        } else {
            let mark = rng.random_range(0..=total);
            let mut sum = 0;
            rest.iter()
                .position(|item| {
                    sum += u32::from(of(item).1);
                    sum >= mark
                })
                .unwrap_or(0)
        };
        // Not a swap: those passed over keep their order, light ones first.
        if let Some(part) = rest.get_mut(..=chosen) {
            part.rotate_right(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn weights_are_shares_and_priorities_are_not_mixed() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut first = [0_u32; 4];
        for _ in 0..10_000 {
            let mut items = [(20, 0, 3_usize), (10, 60, 0), (10, 30, 1), (10, 10, 2)];
            by_priority_and_weight(&mut items, &mut rng, |item| (item.0, item.1));
            assert_eq!(items[3].2, 3, "the higher number goes last");
            first[items[0].2] += 1;
        }
        for (index, share) in [(0, 6000), (1, 3000), (2, 1000)] {
            assert!(first[index].abs_diff(share) < 300, "{first:?}");
        }
        let mut again = [(10, 0, 0), (10, 0, 1)];
        let mut swapped = 0;
        for _ in 0..1000 {
            by_priority_and_weight(&mut again, &mut rng, |item| (item.0, item.1));
            swapped += again[0].2;
        }
        assert!((400..600).contains(&swapped), "{swapped}");
    }
}
