//! What a new configuration makes of the services that run.

/// Which services go on, end and start.
#[derive(Debug)]
pub(super) struct Plan<S> {
    /// Numbers of those that run, with what they are in the new file.
    pub(super) kept: Vec<(usize, S)>,
    /// Numbers of those that run.
    pub(super) ended: Vec<usize>,
    pub(super) started: Vec<S>,
}

impl<S> Plan<S> {
    /// Those that are the same go on, each as one, wherever they stand.
    pub(super) fn new(running: &[&S], wanted: Vec<S>, is_same: impl Fn(&S, &S) -> bool) -> Self {
        let (mut kept, mut ended, mut started) = (Vec::new(), Vec::new(), wanted);
        for (number, service) in running.iter().enumerate() {
            match started.iter().position(|new| is_same(service, new)) {
                Some(at) => kept.push((number, started.remove(at))),
                None => ended.push(number),
            }
        }
        Self { kept, ended, started }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_services_are_the_same_each_once() {
        /// Numbers of those that are kept, those that end, and what starts.
        fn plan(running: &str, wanted: &str) -> (Vec<usize>, Vec<usize>, String) {
            let running: Vec<char> = running.chars().collect();
            let running: Vec<&char> = running.iter().collect();
            let plan = Plan::new(&running, wanted.chars().collect(), |a, b| a == b);
            assert!(plan.kept.iter().all(|(number, new)| running[*number] == new));
            (plan.kept.into_iter().map(|(number, _)| number).collect(), plan.ended, plan.started.into_iter().collect())
        }
        assert_eq!(plan("ab", "ab"), (vec![0, 1], vec![], String::new()));
        assert_eq!(plan("ab", "ba"), (vec![0, 1], vec![], String::new()), "moved within the file");
        assert_eq!(plan("ab", "b"), (vec![1], vec![0], String::new()));
        assert_eq!(plan("a", "xay"), (vec![0], vec![], "xy".into()));
        assert_eq!(plan("aa", "aaa"), (vec![0, 1], vec![], "a".into()), "twins");
        assert_eq!(plan("aab", "ab"), (vec![0, 2], vec![1], String::new()));
        assert_eq!(plan("ab", "cd"), (vec![], vec![0, 1], "cd".into()));
    }
}
