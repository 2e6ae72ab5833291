//! Which of two versions is newer, as rpm decides it. Compares only; knows nothing of databases.

use std::cmp::Ordering;

use rpm_version::Evr;

use super::Nevra;

/// Compares epoch, version and release as rpm does (rpm-version(7)): no epoch is epoch 0, `~` sorts before the end, `^`
/// after it. Name and architecture do not count. Equal does not mean spelled equally: `1.0` is `1.00`.
#[must_use]
pub fn versions(a: &Nevra, b: &Nevra) -> Ordering {
    let epochs = a.epoch.unwrap_or(0).cmp(&b.epoch.unwrap_or(0));
    let evr = |n: &Nevra| Evr::new(String::new(), n.version.clone(), n.release.clone());
    epochs.then_with(|| evr(a).cmp(&evr(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nevra(evr: &str) -> Nevra {
        let (epoch, rest) = match evr.split_once(':') {
            Some((epoch, rest)) => (Some(epoch.parse().unwrap()), rest),
            None => (None, evr),
        };
        let (version, release) = rest.split_once('-').unwrap();
        Nevra {
            name: "n".into(),
            epoch,
            version: version.into(),
            release: release.into(),
            arch: "noarch".into(),
        }
    }

    #[test]
    fn versions_are_ordered_as_rpm_orders_them() {
        for (a, b, order) in [
            ("1-1", "1-1", Ordering::Equal),
            ("1.9-1", "1.10-1", Ordering::Less),
            ("2-1", "1-9", Ordering::Greater),
            ("1-1", "1-1.1", Ordering::Less),
            ("1:1-1", "2-1", Ordering::Greater),
            ("0:1-1", "1-1", Ordering::Equal),
            ("10:1-1", "9:1-1", Ordering::Greater),
            ("1.0~rc1-1", "1.0-1", Ordering::Less),
            ("1.0^git1-1", "1.0-1", Ordering::Greater),
            ("1.0^git1-1", "1.0.1-1", Ordering::Less),
            ("1.00-1", "1.0-1", Ordering::Equal),
            ("1.a-1", "1.1-1", Ordering::Less),
            ("ä-1", "ö-1", Ordering::Equal),
            ("-", "-", Ordering::Equal),
            ("99999999999999999999999-1", "1-1", Ordering::Greater),
        ] {
            assert_eq!(versions(&nevra(a), &nevra(b)), order, "{a} {b}");
            assert_eq!(versions(&nevra(b), &nevra(a)), order.reverse(), "{b} {a}");
        }
    }
}
