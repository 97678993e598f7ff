//! What the process itself needs, under the names that Prometheus' own libraries give.

use super::Registry;

/// Shows memory, descriptors and tasks. Must be called within a runtime.
pub fn watch(registry: &Registry) {
    let memory = registry.gauge("process_resident_memory_bytes", "Resident memory, in octets.", &[]);
    let descriptors = registry.gauge("process_open_fds", "Open file descriptors.", &[]);
    let tasks = registry.gauge("watchfire_tasks", "Tasks that are alive: connections, timers, services.", &[]);
    let runtime = tokio::runtime::Handle::current();
    registry.at_each_look(move |_| {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        tasks.set(count(runtime.metrics().num_alive_tasks()));
        // Other systems than Linux have no such files; what is not known stays zero.
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the folder itself.
            descriptors.set(count(entries.count()).saturating_sub(1));
        }
        if let Some(octets) = resident() {
            memory.set(octets);
        }
    });
}

/// `VmRSS` of `/proc/self/status`, which is in units of 1024 octets whatever the size of a page.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_process_needs_is_shown() {
        let registry = Registry::default();
        watch(&registry);
        let text = registry.render();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
            line.parse::<i64>().unwrap()
        };
        let before = value("watchfire_tasks");
        if cfg!(target_os = "linux") {
            assert!(value("process_open_fds") > 2, "{text}");
            assert!(value("process_resident_memory_bytes") > 1 << 20, "{text}");
        }
        let task = tokio::spawn(std::future::pending::<()>());
        assert!(registry.render().contains(&format!("watchfire_tasks {}\n", before + 1)));
        task.abort();
    }
}
