//! `writegate hook NAME`: prints the file that puts the gate into a tool that people
//! already use. The files lie under `contrib/`; what each tool can and cannot do
//! stands in their first lines.

use super::output::{print, print_lines};
use crate::outcome::fault::{Fault, Result, USAGE};

/// Print the hook for a backup or snapshot tool; without a name, list them
#[derive(clap::Args)]
#[command(after_help = "Example:
  writegate hook qemu-ga > /etc/qemu/fsfreeze-hook && chmod 755 /etc/qemu/fsfreeze-hook")]
pub struct Args {
    /// Which tool
    name: Option<String>,
}

/// One file.
struct Hook {
    name: &'static str,
    /// Where it usually goes.
    place: &'static str,
    /// Can a freeze that failed stop the tool's snapshot?
    aborts: &'static str,
    text: &'static str,
}

macro_rules! hooks {
    ($($name:literal $file:literal $place:literal $aborts:literal)*) => {
        &[$(Hook {
            name: $name,
            place: $place,
            aborts: $aborts,
            text: include_str!(concat!("../../contrib/", $file)),
        }),*]
    };
}

/// All there are.
const HOOKS: &[Hook] = hooks! {
    "around" "around/writegate-around" "/usr/local/sbin/writegate-around" "yes"
    "snapshot" "snapshot/writegate-snapshot" "/usr/local/sbin/writegate-snapshot" "yes"
    "qemu-ga" "qemu-ga/fsfreeze-hook" "/etc/qemu/fsfreeze-hook" "yes"
    "proxmox" "proxmox/writegate-vzdump" "host: /usr/local/sbin/writegate-vzdump" "NO (checked afterwards)"
    "borgmatic" "borgmatic/writegate.yaml" "/etc/borgmatic.d/" "yes"
    "rsnapshot" "rsnapshot/writegate-lvcreate" "/usr/local/sbin/writegate-lvcreate" "yes"
    "resticprofile" "resticprofile/profiles.yaml" "profiles.yaml" "yes"
    "restic" "restic/writegate-restic" "/usr/local/sbin/writegate-restic" "yes"
    "btrbk" "btrbk/writegate-btrbk" "/usr/local/sbin/writegate-btrbk" "yes"
    "snapper" "snapper/writegate-snapper" "/usr/local/sbin/writegate-snapper" "yes (wrapped; plugins: NO)"
    "sanoid" "sanoid/writegate-sanoid" "/usr/local/sbin/writegate-sanoid" "yes"
    "zfs-mark" "zfs/writegate-zfs-mark" "/usr/local/sbin/writegate-zfs-mark" "(marks afterwards)"
    "zrepl" "zrepl/writegate-zrepl" "/usr/local/sbin/writegate-zrepl" "yes"
    "velero" "velero/annotations.yaml" "the pod's annotations" "NO"
    "kanister" "kanister/blueprint.yaml" "a Blueprint" "yes"
    "open-vm-tools" "open-vm-tools/10-writegate" "/etc/vmware-tools/backupScripts.d/10-writegate" "yes"
    "veeam" "veeam/writegate-veeam" "pre-freeze.sh and post-thaw.sh" "yes"
    "bareos" "bareos/writegate.conf" "the job's RunScript" "yes"
    "prepost" "prepost/writegate-prepost" "/usr/local/sbin/writegate-prepost" "(as the tool decides)"
    "azure" "azure/VMSnapshotScriptPluginConfig.json" "/etc/azure/, with prepost" "yes"
    "aws-dlm" "aws/writegate-dlm.yaml" "an SSM document, with prepost" "if its policy says so"
    "gcp" "gcp/writegate-guest-flush" "/etc/google/snapshots/{pre,post}.sh, with prepost" "yes (with --guest-flush)"
    "kopia" "kopia/writegate-kopia" "/usr/local/sbin/writegate-kopia, with snapshot" "yes (mode essential)"
    "rustic" "rustic/writegate.toml" "a profile, with snapshot" "yes"
    "backrest" "backrest/hooks.json" "a plan's hooks, with snapshot" "yes (ON_ERROR_CANCEL)"
    "urbackup" "urbackup/prefilebackup" "/usr/local/etc/urbackup/{pre,post}filebackup" "yes"
    "volume-backup" "docker-volume-backup/compose.yaml" "labels, with prepost" "yes"
    "zfs-autobackup" "zfs_autobackup/writegate-zfs-autobackup" "/usr/local/sbin/writegate-zfs-autobackup" "yes"
    "timeshift" "timeshift/writegate-timeshift" "/usr/local/sbin/writegate-timeshift" "yes (wrapped)"
    "compose" "containers/compose.yaml" "a sidecar for Docker" "yes"
    "pod" "containers/pod.yaml" "a sidecar for Kubernetes" "yes"
    "ansible" "ansible/playbooks/snapshot.yml" "a playbook" "yes"
};

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    HOOKS.iter().map(|hook| hook.name)
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    let Some(name) = &args.name else {
        print(&format!("{:<14} {:<28} {}", "NAME", "A FAILED FREEZE STOPS IT", "PLACE"));
        for hook in HOOKS {
            print(&format!("{:<14} {:<28} {}", hook.name, hook.aborts, hook.place));
        }
        return Ok(0);
    };
    match HOOKS.iter().find(|hook| hook.name == name) {
        Some(hook) => {
            print_lines(hook.text.trim_end_matches('\n'));
            Ok(0)
        }
        None => {
            let known: Vec<_> = names().collect();
            Err(Fault::new(USAGE, format!("no hook `{name}`; there are {}", known.join(", "))))
        }
    }
}
