//! What Linux says of a running process. Deliberately absent: other systems.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every architecture that Rust's tier 1 knows.
const TICKS: f64 = 100.0;

/// CPU seconds of a process, user and system, with the children it has waited for.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat"))
}

/// The name in parentheses may hold anything, so fields are counted after its end: utime is the twelfth from there.
fn parse_cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<f64>().ok());
    ticks.sum::<Option<f64>>().map(|ticks| ticks / TICKS)
}

/// CPU seconds of a process, of the children it has waited for, and of those that live.
///
/// # Errors
/// When there is no such process.
pub fn family_cpu_seconds(pid: u32) -> io::Result<f64> {
    let mut sum = cpu_seconds(pid)?;
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that ends meanwhile has been waited for.
        let Ok(stat) = fs::read_to_string(format!("/proc/{child}/stat")) else { continue };
        if parent(&stat) == Some(pid) {
            sum += parse_cpu(&stat).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// CPU seconds of a process's living threads by their names, in which numbers are left out.
///
/// # Errors
/// When there is no such process.
pub fn thread_cpu_seconds(pid: u32) -> io::Result<BTreeMap<String, f64>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that ends meanwhile is left out.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let Some((name, cpu)) = thread_name(&stat).zip(parse_cpu(&stat)) else { continue };
        *threads.entry(name).or_default() += cpu;
    }
    Ok(threads)
}

fn thread_name(stat: &str) -> Option<String> {
    let (head, _) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some(name.trim_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned())
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_times_after_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 100 50 25 25 20 0";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parent(stat), Some(1));
        assert_eq!(thread_name(stat).as_deref(), Some("a ) b"));
        assert_eq!(thread_name("7 (rdk:broker-12) S 1").as_deref(), Some("rdk:broker"));
    }

    #[test]
    fn knows_this_process() {
        assert!(cpu_seconds(std::process::id()).is_ok());
        assert!(thread_cpu_seconds(std::process::id()).is_ok_and(|threads| !threads.is_empty()));
        assert!(resident_bytes(std::process::id()).expect("Linux") > 100_000);
    }
}
