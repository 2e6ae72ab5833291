//! kdump (kdump(7)): a reserved part of the memory, in which a second kernel saves the rest after a crash.

use std::str::FromStr;

use anyhow::Result;

use super::{edit, lines};
use crate::sys::cmd::Argv;
use crate::transaction::Open;

const CONFIG: &str = "etc/sysconfig/kdump";
const PACKAGE: &str = "kdump";

/// How much memory is reserved, in MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashKernel {
    low: u32,
    high: Option<u32>,
}

impl FromStr for CrashKernel {
    type Err = String;

    /// From `LOW[,HIGH]`.
    fn from_str(text: &str) -> Result<CrashKernel, String> {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let number = is_number.then(|| digits.parse().ok()).flatten();
            number.ok_or_else(|| format!("{text:?} is not LOW[,HIGH] in MiB, as 72 or 72,128"))
        };
        let (low, high) = match text.split_once(',') {
            Some((low, high)) => (low, Some(high)),
            None => (text, None),
        };
        Ok(CrashKernel {
            low: number(low)?,
            high: high.map(number).transpose()?.filter(|high| *high > 0),
        })
    }
}

impl CrashKernel {
    /// The parameters of the kernel.
    fn parameters(&self) -> String {
        match self.high {
            Some(high) => format!("crashkernel={}M,low crashkernel={high}M,high", self.low),
            None => format!("crashkernel={}M", self.low),
        }
    }
}

/// Switches the service on and reserves `memory`, or what kdump's own tool computes.
pub(super) fn apply(open: &Open<'_>, memory: Option<&CrashKernel>) -> Result<()> {
    let parameters = memory.map_or("auto".to_owned(), CrashKernel::parameters);
    edit(open, CONFIG, PACKAGE, |text| {
        let text = lines::set(text, "KDUMP_CRASHKERNEL", &format!("\"{parameters}\""));
        // its service would change the boot loader of a read-only system
        lines::set(&text, "KDUMP_UPDATE_BOOTLOADER", "\"false\"")
    })?;
    open.call(Argv::new(["systemctl", "enable", "kdump.service"]))?;
    open.call(Argv::new(["kdumptool", "commandline", "-u"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_number_or_two_and_becomes_parameters_of_the_kernel() {
        let parameters = |text: &str| CrashKernel::from_str(text).map(|m| m.parameters());
        assert_eq!(parameters("72").unwrap(), "crashkernel=72M");
        assert_eq!(
            parameters("72,128").unwrap(),
            "crashkernel=72M,low crashkernel=128M,high"
        );
        assert_eq!(parameters("72,0").unwrap(), "crashkernel=72M");
        for wrong in [
            "",
            "a",
            "72,",
            ",72",
            "72M",
            "-1",
            "+1",
            "72,1,2",
            "99999999999",
        ] {
            assert!(parameters(wrong).is_err(), "{wrong}");
        }
    }
}
