//! Who may do what on the control socket.
//!
//! The socket's mode and group keep strangers out; this checks again what the kernel says about the peer, and
//! draws the line between looking and changing.

use std::io::Read as _;
use std::path::PathBuf;

/// Largest user or group file read, in bytes (I11).
const FILE_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Denied,
    /// Look.
    Read,
    /// Look and change.
    Mutate,
}

/// Knows users and groups.
#[derive(Clone, Debug)]
pub struct Peers {
    /// User id with all rights: 0.
    pub(super) root_uid: u32,
    /// User id of the agent itself: may look.
    pub(super) own_uid: u32,
    group_name: String,
    group_file: PathBuf,
    passwd_file: PathBuf,
}

struct Group {
    gid: u32,
    members: Vec<String>,
}

impl Peers {
    /// Members of `group` may do everything, as far as `/etc/group` and `/etc/passwd` know them.
    pub fn new(group: &str) -> Self {
        Self {
            root_uid: 0,
            own_uid: rustix::process::getuid().as_raw(),
            group_name: group.to_owned(),
            group_file: "/etc/group".into(),
            passwd_file: "/etc/passwd".into(),
        }
    }

    /// The group's id, or `None` when there is no such group.
    pub(super) fn gid(&self) -> Option<u32> {
        self.group().map(|group| group.gid)
    }

    /// What a peer with these ids may do. Reads the files anew, so that a change counts at once.
    pub fn access(&self, uid: u32, gid: u32) -> Access {
        if uid == self.root_uid {
            return Access::Mutate;
        }
        if let Some(group) = self.group() {
            let user = self.user(uid);
            let is_listed = user.as_ref().is_some_and(|(name, _)| group.members.contains(name));
            let is_primary = user.is_some_and(|(_, primary)| primary == group.gid);
            if gid == group.gid || is_listed || is_primary {
                return Access::Mutate;
            }
        }
        if uid == self.own_uid { Access::Read } else { Access::Denied }
    }

    fn group(&self) -> Option<Group> {
        read(&self.group_file).lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == self.group_name).then_some(())?;
            let gid = fields.nth(1)?.parse().ok()?;
            let members = fields.next().unwrap_or_default().split(',').map(str::to_owned).collect();
            Some(Group { gid, members })
        })
    }

    /// Name and primary group of a user.
    fn user(&self, uid: u32) -> Option<(String, u32)> {
        read(&self.passwd_file).lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (line_uid, gid) =
                (fields.nth(1)?.parse::<u32>().ok()?, fields.next()?.parse().ok()?);
            (line_uid == uid).then(|| (name.to_owned(), gid))
        })
    }
}

/// A file's text; one that cannot be read knows nobody.
fn read(path: &PathBuf) -> String {
    let mut text = String::new();
    let _ = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_SIZE_BYTES_MAX).read_to_string(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn peers(dir: &TempDir) -> Peers {
        let (group_file, passwd_file) = (dir.path().join("group"), dir.path().join("passwd"));
        std::fs::write(&group_file, "root:x:0:\nbroken\nmargo:x:900:ann,bob\nmargo2:x:901:eve\n")
            .unwrap();
        let users =
            "root:x:0:0::/:\nann:x:1001:1001::/:\neve:x:1003:1003::/:\ncarl:x:1004:900::/:\n";
        std::fs::write(&passwd_file, users).unwrap();
        let group_name = "margo".to_owned();
        Peers { root_uid: 0, own_uid: 500, group_name, group_file, passwd_file }
    }

    #[test]
    fn root_and_the_group_may_change_the_agent_may_look_and_others_nothing() {
        let dir = TempDir::new().unwrap();
        let peers = peers(&dir);
        for (uid, gid, expected, who) in [
            (0, 0, Access::Mutate, "root"),
            (1001, 1001, Access::Mutate, "listed in the group"),
            (1004, 1004, Access::Mutate, "the group is the primary one"),
            (1009, 900, Access::Mutate, "runs under the group"),
            (500, 500, Access::Read, "the agent itself"),
            (1003, 1003, Access::Denied, "in a group of nearly the same name"),
            (1009, 1009, Access::Denied, "unknown"),
        ] {
            assert_eq!(peers.access(uid, gid), expected, "{who}");
        }
    }

    #[test]
    fn without_the_group_only_root_and_the_agent_get_in() {
        let dir = TempDir::new().unwrap();
        let peers = Peers { group_name: "nosuch".into(), ..peers(&dir) };
        assert_eq!(peers.gid(), None);
        assert_eq!(peers.access(1001, 1001), Access::Denied);
        assert_eq!(peers.access(500, 500), Access::Read);
        assert_eq!(peers.access(0, 0), Access::Mutate);
    }
}
