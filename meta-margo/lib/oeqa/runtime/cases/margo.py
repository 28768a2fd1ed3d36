#
# SPDX-License-Identifier: Apache-2.0
#
"""Behaviours of a Margo device, seen from outside: `bitbake -c testimage margo-image-dev`.

In QEMU, or on a board of your own: TEST_TARGET = "simpleremote", TEST_TARGET_IP = "192.0.2.7" (meta-margo/README.md).
Nothing here leaves the device changed, but for a reboot. A device that has workloads is asked to restore them.
"""

import json
import time

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase

# A device that is emulated on another processor takes its time.
READY_TIMEOUT_SECS = 300
# One question to a device that may be rebooting: a connection can hang as well as break.
ANSWER_TIMEOUT_SECS = 30
BOOT_ENV = "/usr/lib/margo-agent/margo-boot-env"


class MargoTest(OERuntimeTestCase):
    """What the cases ask the device with."""

    def output(self, command):
        status, output = self.target.run(command)
        self.assertEqual(status, 0, msg=f"`{command}` failed on the device:\n{output}")
        return output

    def fails(self, command, why):
        status, output = self.target.run(command)
        self.assertNotEqual(status, 0, msg=f"{why}: `{command}` succeeded\n{output}")

    def ask(self, command):
        """Like `target.run`, of a device that may be away: over ssh that is an exception there."""
        try:
            return self.target.run(command, timeout=ANSWER_TIMEOUT_SECS)
        except AssertionError as error:
            return 255, str(error)

    def until(self, command, what):
        """Waits until a command succeeds. The reboot in between is no error."""
        deadline = time.monotonic() + READY_TIMEOUT_SECS
        output = ""
        while time.monotonic() < deadline:
            status, output = self.ask(command)
            if status == 0:
                return output
            time.sleep(2)
        self.fail(f"{what} did not happen within {READY_TIMEOUT_SECS} s: `{command}` says\n{output}")

    def boot_env(self):
        return json.loads(self.output(f"{BOOT_ENV} show --json"))

    def status(self):
        return json.loads(self.until("margoctl --json status", "an answer of the agent"))

    def variable(self, name):
        value = self.td.get(name)
        self.assertTrue(value, msg=f"{name} is not in testdata.json; build the image with this layer")
        return value


class MargoImageTest(MargoTest):
    """What the image is."""

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_root_is_read_only(self):
        self.assertIn("ro", self.output("findmnt -no OPTIONS /").split(","))
        self.fails("touch /usr/margo-probe /etc/margo-probe", "the root can be written")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_data_is_a_partition_of_its_own(self):
        self.assertEqual(self.output("findmnt -no TARGET /data"), "/data")
        for directory, source in (("/var/lib/margo-agent", "[/margo-agent]"), ("/etc/margo-agent", "[/etc-margo-agent]"),
                                  ("/var/log/journal", "[/journal]")):
            self.assertTrue(self.output(f"findmnt -no SOURCE {directory}").endswith(source))

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_data_partition_has_grown(self):
        disk = "/dev/$(lsblk -no PKNAME /dev/disk/by-partlabel/data)"
        size = int(self.output(f"lsblk -bdno SIZE {disk}"))
        parts = sum(int(line.split()[0]) for line in self.output(f"lsblk -bnlo SIZE,TYPE {disk}").splitlines()
                    if line.split()[1] == "part")
        # What alignment and the second partition table leave.
        self.assertLess(size - parts, 16 << 20, msg="the data partition does not reach the end of the disk")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_nothing_commits_by_itself(self):
        self.fails("find / -xdev -name 'rauc-mark-good*' ! -lname /dev/null | grep .", "rauc-mark-good is installed")
        self.fails("grep -rE '^Exec.*(rauc.*mark-good|mark good)' /usr/lib/systemd /etc/systemd", "a unit marks slots good")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_machine_id_comes_from_the_boot_environment(self):
        machine_id = self.output("cat /etc/machine-id")
        self.assertRegex(machine_id, "^[0-9a-f]{32}$")
        self.assertEqual(self.boot_env()["machine_id"], machine_id)

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_system_is_well(self):
        self.until("systemctl is-system-running --wait", "a system without failed units")


class MargoFirmwareTest(MargoTest):
    """Slots, the boot environment, and who ends a trial."""

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_rauc_sees_two_slots(self):
        status = json.loads(self.output("rauc status --output-format=json"))
        self.assertEqual(status["compatible"], self.variable("MARGO_COMPATIBLE"))
        names = {slot["bootname"]: slot["state"] for entry in status["slots"] for slot in entry.values()}
        self.assertEqual(set(names), {"A", "B"})
        self.assertEqual(list(names.values()).count("booted"), 1)

    @OETestDepends(["margo.MargoFirmwareTest.test_rauc_sees_two_slots"])
    def test_the_slot_that_runs_is_committed(self):
        env = self.boot_env()
        self.assertIn(f"rauc.slot={env['booted']}", self.output("cat /proc/cmdline").split())
        self.assertEqual(env["slots"][env["booted"]]["state"], "good")
        self.assertEqual(env["primary"], env["booted"])
        self.assertEqual(env["damage"], [])

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_the_guard_stands_ready(self):
        self.output("systemctl is-active margo-trial-guard.timer")
        # A committed slot is left alone.
        self.fails(f"{BOOT_ENV} guard --dry-run | grep reboot", "the guard would leave a committed slot")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_only_signed_bundles_of_the_format_verity(self):
        self.output("grep -qx bundle-formats=verity /etc/rauc/system.conf")
        self.output("head -c 1048576 /dev/urandom >/run/margo-probe.raucb")
        self.fails("rauc install /run/margo-probe.raucb", "RAUC installs a file without a signature")
        self.output("rm /run/margo-probe.raucb")
        env = self.boot_env()
        self.assertEqual(env["primary"], env["booted"], msg="a refused bundle changed the boot order")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_rauc_is_root_s(self):
        self.fails("su -s /bin/sh nobody -c 'busctl call de.pengutronix.rauc / de.pengutronix.rauc.Installer Mark ss bad other'",
                   "anybody may mark slots")

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_hardware_watchdog_is_fed(self):
        if self.target.run("test -e /dev/watchdog0")[0]:
            self.skipTest("this board has no watchdog driver")
        self.assertNotIn(self.output("systemctl show -p RuntimeWatchdogUSec --value"), ("0", "infinity"))


class MargoAgentTest(MargoTest):
    """The agent, and what it promises over a reboot."""

    @OETestDepends(["ssh.SSHTest.test_ssh"])
    def test_agent_answers(self):
        self.output("systemctl is-active margo-agent.service")
        status = self.status()
        self.assertTrue(status["agent_version"])
        self.assertTrue(status["device_id"])

    @OETestDepends(["margo.MargoAgentTest.test_agent_answers"])
    def test_agent_reports_this_firmware(self):
        release = dict(line.split("=", 1) for line in self.output("cat /etc/os-release").splitlines() if "=" in line)
        self.assertEqual(release["IMAGE_VERSION"].strip('"'), self.variable("MARGO_OS_VERSION"))
        self.assertEqual(release["IMAGE_ID"].strip('"'), self.variable("MARGO_COMPATIBLE"))

    @OETestDepends(["margo.MargoAgentTest.test_agent_answers"])
    def test_agent_is_confined(self):
        exposure = self.output("systemctl show margo-agent -p NoNewPrivileges,ProtectSystem,CapabilityBoundingSet")
        for setting in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=cap_chown"):
            self.assertIn(setting, exposure)

    @OETestDepends(["margo.MargoAgentTest.test_agent_answers"])
    def test_agent_comes_back_when_killed(self):
        before = self.output("systemctl show margo-agent -p MainPID --value")
        self.output("systemctl kill --signal=SIGKILL margo-agent")
        self.until(f"test $(systemctl show margo-agent -p MainPID --value) -gt 0 -a "
                   f"$(systemctl show margo-agent -p MainPID --value) -ne {before} && margoctl status", "the agent's return")

    @OETestDepends(["margo.MargoAgentTest.test_agent_answers"])
    def test_engine_keeps_its_data_over_updates(self):
        if not self.td.get("MARGO_ENGINE"):
            self.skipTest("this image has no container engine (MARGO_ENGINE)")
        self.output("systemctl is-active docker.service")
        self.output("test -d /data/docker/containers")

    @OETestDepends(["margo.MargoAgentTest.test_agent_comes_back_when_killed"])
    def test_restores_without_fleet_manager_after_a_reboot(self):
        """Without a word from the fleet manager from the first moment, what ran before runs again."""
        before = self.status()
        boot_id = self.output("cat /proc/sys/kernel/random/boot_id")
        # Not asked at any time of the day; under another address the device would belong to another fleet manager. In the
        # directory that provisioning writes to, because it outlives the reboot.
        probe = "/etc/margo-agent/config.d/99-testimage.toml"
        self.output(f"printf '[wfm]\\ndowntime = [\"00:00-24:00\"]\\n' >{probe} && sync")
        self.addCleanup(self.target.run, f"rm -f {probe} && systemctl restart margo-agent")
        # Its answer may be lost with the connection.
        self.ask("systemctl reboot")
        self.until(f"test $(cat /proc/sys/kernel/random/boot_id) != {boot_id} && margoctl status", "the reboot")
        if before["workloads"]["desired"] == before["workloads"]["installed"]:
            self.until("margoctl --json status | tr -d ' \\n' | grep -q "
                       f"'\"desired\":{before['workloads']['desired']},\"installed\":{before['workloads']['desired']},'",
                       "the workloads' return")
        after = self.status()
        self.assertEqual(after["device_id"], before["device_id"])
        self.assertEqual(after["workloads"]["desired"], before["workloads"]["desired"])
        self.assertEqual(after["manifest_version"], before["manifest_version"])
        env = self.boot_env()
        self.assertEqual(env["slots"][env["booted"]]["state"], "good")
