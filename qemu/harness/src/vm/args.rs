//! QEMU's command line for a device.

use crate::error::Outcome;
use crate::guest::credentials::Credential;
use crate::project::Project;
use crate::vm::write_log::WriteLog;
use std::path::PathBuf;

/// The hardware of a device and what is plugged in when it is switched on.
#[derive(Clone, Debug)]
pub(crate) struct Hardware {
    /// `kvm` or `tcg`.
    pub(crate) accelerator: &'static str,
    pub(crate) memory_mib: u64,
    pub(crate) cpus: u64,
    /// What the hardware clock says at power-on; the host's time when absent.
    pub(crate) clock: Option<String>,
    pub(crate) disk: PathBuf,
    /// Where everything asked of the disk is recorded.
    pub(crate) write_log: Option<WriteLog>,
    /// The firmware's variable store.
    pub(crate) variables: PathBuf,
    pub(crate) stick: Option<PathBuf>,
    pub(crate) credentials: Vec<Credential>,
    /// Host port and guest port.
    pub(crate) forwards: Vec<(u16, u16)>,
    /// A saved memory to go on from.
    pub(crate) incoming: Option<PathBuf>,
}

impl Hardware {
    /// The arguments; sockets and logs go to `dir`.
    pub(crate) fn args(&self, project: &Project, dir: &std::path::Path) -> Outcome<Vec<String>> {
        let accel = self.accelerator;
        let chosen = std::env::var("MARGO_QEMU_CPU").ok();
        let cpu = match accel {
            "kvm" => "host",
            _ => chosen.as_deref().unwrap_or_else(|| project.arch.emulated_cpu()),
        };
        let at = |name: &str| dir.join(name).display().to_string();
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-S", "-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-machine", &project.arch.machine(accel), "-cpu", cpu]);
        add(&["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        let clock = self.clock.as_deref().unwrap_or("utc");
        add(&["-rtc", &format!("base={clock}")]);
        add(&["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))]);
        let console = format!(
            "socket,id=console,path={},server=on,wait=off,logfile={},logappend=on",
            at("console"),
            at("console.log")
        );
        add(&["-chardev", &console, "-serial", "chardev:console"]);
        let disk = format!("driver=file,filename={},node-name=disk-file", self.disk.display());
        add(&["-blockdev", &disk, "-blockdev", "driver=qcow2,file=disk-file,node-name=disk"]);
        let drive = match &self.write_log {
            None => "disk",
            Some(log) => {
                add(&["-blockdev", &log.driver("logged", "disk")?]);
                "logged"
            }
        };
        let device = format!("virtio-blk-pci,drive={drive},id=vda,serial=disk,bootindex=1");
        add(&["-device", &device]);
        let mut network = "user,id=net0".to_owned();
        for (host, guest) in &self.forwards {
            network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
        }
        // Without an option ROM the firmware does not try to boot from the network.
        add(&["-netdev", &network, "-device", "virtio-net-pci,netdev=net0,id=nic0,romfile="]);
        add(&["-device", "i6300esb,id=dog", "-action", "watchdog=reset"]);
        add(&["-device", "virtio-rng-pci", "-device", "virtio-scsi-pci,id=scsi"]);
        add(&["-device", "virtio-serial-pci,id=ports"]);
        for port in ["margo.probe", "margo.journal"] {
            let channel = format!("socket,id={port},path={},server=on,wait=off", at(port));
            let device = format!("virtserialport,chardev={port},name={port}");
            add(&["-chardev", &channel, "-device", &device]);
        }
        match &project.direct {
            None => self.firmware(project, &mut add),
            Some(direct) => {
                add(&["-kernel", &direct.kernel, "-initrd", &direct.initrd]);
                add(&["-append", &direct.append]);
            }
        }
        if let Some(stick) = &self.stick {
            let file = format!(
                "driver=raw,read-only=on,file.driver=file,file.filename={},node-name=stick",
                stick.display()
            );
            add(&["-blockdev", &file]);
            add(&["-device", "scsi-hd,bus=scsi.0,drive=stick,id=stick,removable=on"]);
        }
        for file in crate::guest::credentials::write(&self.credentials, dir)? {
            add(&["-smbios", &format!("type=11,path={}", file.display())]);
        }
        if let Some(memory) = &self.incoming {
            add(&["-incoming", &format!("file:{}", memory.display())]);
        }
        Ok(args)
    }

    fn firmware(&self, project: &Project, add: &mut impl FnMut(&[&str])) {
        let (code, _) = project.arch.firmware();
        let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={code}");
        let variables = self.variables.display();
        let variables = format!("if=pflash,unit=1,format=raw,file={variables}");
        add(&["-drive", &code, "-drive", &variables]);
    }
}
