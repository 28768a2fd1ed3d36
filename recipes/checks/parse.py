"""BitBake's real parser over every file of the layer, for every machine of the kas files, with every variable expanded.

Runs in a process of its own (`python parse.py PROJECT SCRATCH MACHINE DISTRO WITH_EXTRA < local.conf`), because BitBake keeps
its state in globals. Faults come out as JSON.
"""

import contextlib
import io
import json
import logging
import os
import re
import sys
import types
from pathlib import Path

import standin
from layer import Layer

# BitBake imports the libraries of its two servers, which its package lacks, and never calls them here.
for package, module in (("hashserv", "client"), ("prserv", "serv")):
    sys.modules[package] = types.ModuleType(package)
    sys.modules[f"{package}.{module}"] = types.ModuleType(f"{package}.{module}")
    setattr(sys.modules[package], module, sys.modules[f"{package}.{module}"])

import bb  # noqa: E402
import bb.cooker  # noqa: E402
import bb.cookerdata  # noqa: E402

LEFT_OVER = re.compile(r"\$\{([A-Za-z][A-Za-z0-9_-]*)\}")


class Log(logging.Handler):
    """Warnings and errors of BitBake, in its own words."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text += f" ({record.exc_info[1]})"
        self.lines.append(text)


class Parse:
    """One configuration: a machine, a distro, and layers."""

    def __init__(self, layer, scratch, extra):
        self.layer, self.scratch = layer, scratch
        self.collections = ["core", "rauc"] + (["virtualization-layer", "raspberrypi"] if extra else [])
        self.faults, self.read, self.skipped, self.parsed = [], set(), {}, set()
        self.log = Log()
        logging.getLogger("BitBake").addHandler(self.log)
        logging.getLogger("BitBake").setLevel(logging.WARNING)

    def fault(self, file, line, message, next_step):
        self.faults.append([str(file), line or 0, message, next_step])

    def take_log(self, file):
        """What BitBake complained about since the last time."""
        for text in self.log.lines:
            where = re.search(r"(?:at |in |file )?(/[^\s:']+\.(?:bb|bbappend|bbclass|conf|inc))[:, ]+(?:line )?(\d+)", text)
            place = (where[1], int(where[2])) if where else (file, 0)
            self.fault(*place, text, "correct what BitBake complains about")
        self.log.lines.clear()

    def configure(self, machine, distro, local_conf):
        """The configuration files, as bitbake reads them."""
        conf = self.scratch / "conf"
        conf.mkdir(parents=True)
        layers = [*standin.write(self.scratch, self.collections), self.layer.path]
        (conf / "bblayers.conf").write_text(
            f'BBPATH = "{self.scratch}"\nBBFILES ?= ""\nBBLAYERS = "{" ".join(map(str, layers))}"\n')
        (conf / "local.conf").write_text(f'MACHINE = "{machine}"\nDISTRO = "{distro}"\n{local_conf}\n{self.keys(local_conf)}')
        os.chdir(self.scratch)
        config = bb.cookerdata.CookerConfiguration()
        config.tracking = True
        self.builder = bb.cookerdata.CookerDataBuilder(config, True)
        self.builder.parseBaseConfiguration(worker=True)
        self.note_read(self.builder.data)
        self.expand(self.builder.data)

    def keys(self, local_conf):
        """Own keys, where the kas file does not ask for development keys."""
        if "MARGO_DEVELOPMENT_KEYS" in local_conf:
            return ""
        text = ""
        for variable in ("MARGO_KEYRING", "MARGO_BUNDLE_CERT", "MARGO_BUNDLE_KEY"):
            file = self.scratch / f"{variable}.pem"
            file.write_text("stands in for a key\n")
            text += f'{variable} = "{file}"\n'
        return text

    def note_read(self, data):
        """Remembers which files of the layer BitBake read."""
        for name in ("__depends", "__base_depends"):
            for file, *_ in data.getVar(name, False) or []:
                self.read.add(str(file))

    def recipes(self):
        """Every recipe of the layer with its appends, and the stand-ins that the layer appends to."""
        cooker = types.SimpleNamespace(data=self.builder.data)
        bb.cooker.BBCooker.handleCollections(cooker, self.builder.data.getVar("BBFILE_COLLECTIONS"))
        collected = bb.cooker.CookerCollectFiles(cooker.bbfile_config_priorities)
        files, _, _ = collected.collect_bbfiles(self.builder.data, self.builder.data)
        used = set()
        for file in files:
            appends = collected.get_file_appends(file)
            used.update(appends)
            if str(self.layer.path) in file or appends:
                self.recipe(file, appends, collected.calc_bbfile_priority(file)[2])
        for _, append in collected.bbappends:
            if append not in used:
                self.fault(append, 0, "appends to a recipe that no layer has",
                           "correct the file's name; if the recipe exists, add it to recipes/checks/standin.py")

    def recipe(self, file, appends, collection):
        """One recipe in all its variants."""
        try:
            variants = self.builder.parseRecipeVariants(file, appends, layername=collection)
        except bb.BBHandledException:
            self.take_log(file)
            return
        except Exception as problem:  # noqa: BLE001  the parser's errors have no common base
            self.complain(file, problem)
            return
        self.take_log(file)
        for name, data in variants.items():
            self.note_read(data)
            skipped = data.getVar("__SKIPPED", False)
            if skipped:
                if "virtual:" not in name:
                    self.skipped[file] = str(skipped)
                continue
            self.parsed.add(file)
            self.expand(data)
            self.tasks(file, data)
            self.sources(file, data)
            self.source_date(file, data)
            self.package_list(data)

    def complain(self, file, problem):
        """An exception of the parser: its own place, where it has one."""
        place = (getattr(problem, "filename", None) or file, getattr(problem, "lineno", 0))
        text = str(problem)
        hint = re.search(r"Could not inherit file classes\S*/([\w-]+)\.bbclass|inherit file \S*?([\w-]+)\.bbclass", text)
        step = "correct the line"
        if hint:
            step = "correct the class's name; if openembedded-core has it, add it to recipes/checks/standin.py"
        self.fault(*place, text, step)

    def functions(self, data):
        """Functions that our layer defines or adds to, and where; `do_x:append` counts as do_x."""
        places = {}
        for name in sorted(data.keys()):
            file = data.getVarFlag(name, "filename", False)
            if file and str(file).startswith(str(self.layer.path)):
                places.setdefault(name.split(":")[0], (file, int(data.getVarFlag(name, "lineno", False) or 0)))
        return places

    def place(self, data, variable):
        """File and line of the last assignment in our layer; None where the layer does not set it."""
        found = None
        for event in data.varhistory.variable(variable):
            if str(event.get("file", "")).startswith(str(self.layer.path)):
                found = (event["file"], int(event["line"]))
        return found

    def expand(self, data):
        """Every variable that our layer sets, with its flags, must expand without an error and without a rest."""
        known = set(data.keys()) | known_to_core()
        functions = self.functions(data)
        for function, place in functions.items():
            if not data.getVarFlag(function, "python", False):
                self.left_over(data, place, function, data.getVar(function) or "", known, shell=True)
        for variable in sorted(data.keys()):
            place = self.place(data, variable)
            if variable.startswith("__") or not place or variable in functions or data.getVarFlag(variable, "func", False):
                continue
            for flag, value in [(None, None), *(data.getVarFlags(variable) or {}).items()]:
                what = f"{variable}[{flag}]" if flag else variable
                try:
                    value = data.getVarFlag(variable, flag) if flag else data.getVar(variable)
                except Exception as problem:  # noqa: BLE001  code in ${@…} can raise anything
                    self.fault(*place, f"{what} does not expand: {problem}", "correct the expression")
                    continue
                if isinstance(value, str):
                    self.left_over(data, place, what, value, known, shell=False)

    def left_over(self, data, place, what, value, known, shell):
        """A reference that nothing resolves is a mistyped name."""
        for name in LEFT_OVER.findall(value):
            if name in known or data.getVar(name) is not None or (shell and self.is_of_shell(name, value)):
                continue
            self.fault(*place, f"{what} refers to ${{{name}}}, which nothing sets",
                       "correct the name; if openembedded-core sets it, add it to recipes/checks/standin.py")

    @staticmethod
    def is_of_shell(name, text):
        """Shell functions have variables of their own."""
        return name.islower() or re.search(rf"\b(?:for|read|local|export)\s[^;\n]*\b{name}\b|\b{name}=", text)

    def tasks(self, file, data):
        """Every function through BitBake's shell and Python parsers."""
        for variable, place in sorted(self.functions(data).items()):
            body = data.getVar(variable) or ""
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    if data.getVarFlag(variable, "python", False):
                        bb.codeparser.PythonParser(variable, bb.data.logger).parse_python(body, filename=place[0])
                    else:
                        bb.codeparser.ShellParser(variable, bb.data.logger).parse_shell(body)
            except Exception as problem:  # noqa: BLE001  syntax errors of two languages
                self.fault(*place, f"{variable}: {type(problem).__name__}: {problem}", "correct the function")
            self.log.lines.clear()

    def sources(self, file, data):
        """Local files of SRC_URI are there, and the licence has the checksum the recipe says."""
        for uri in (data.getVar("SRC_URI") or "").split():
            if uri.startswith("file://"):
                name = bb.fetch2.decodeurl(uri)[2]
                if not os.path.isabs(name) and not bb.utils.which(data.getVar("FILESPATH") or "", name):
                    self.fault(*(self.place(data, "SRC_URI") or (file, 0)), f"SRC_URI names {name}, which no directory of FILESPATH has",
                               "correct the name or FILESEXTRAPATHS")
                elif os.path.isabs(name) and not os.path.exists(name):
                    self.fault(*(self.place(data, "SRC_URI") or (file, 0)), f"SRC_URI names {name}, which is not there",
                               "correct the path")
        for uri in (data.getVar("LIC_FILES_CHKSUM") or "").split():
            _, _, path, _, _, wants = bb.fetch2.decodeurl(uri)
            licence = self.layer.project / "LICENSE"
            if os.path.basename(path) == "LICENSE" and wants.get("md5") != bb.utils.md5_file(str(licence)):
                self.fault(*(self.place(data, "LIC_FILES_CHKSUM") or (file, 0)), "the checksum is not that of the project's LICENSE",
                           f"write md5={bb.utils.md5_file(str(licence))}")

    def source_date(self, file, data):
        """Sources that are a directory below UNPACKDIR need margo-checkout.bbclass, which says why."""
        if not file.startswith(str(self.layer.path)):
            return
        uris = (data.getVar("SRC_URI") or "").split()
        local = [uri for uri in uris if uri.startswith("file://")]
        if local and all(uri.startswith(("file://", "crate://")) for uri in uris) and data.getVar("S") != data.getVar("UNPACKDIR") \
                and "SOURCE_BASEDIR" not in (data.getVar("do_unpack") or ""):
            self.fault(*(self.place(data, "SRC_URI") or (file, 0)), "the times of a checkout become SOURCE_DATE_EPOCH",
                       'inherit margo-checkout, or set S = "${UNPACKDIR}"')

    def package_list(self, data):
        """The list of installed packages is in /var, and oe-core reads it after ROOTFS_POSTPROCESS_COMMAND: for scripts of
        the first boot, manifests and SBOM. Without it, an image of ipk or deb packages stops in do_rootfs."""
        ours = self.functions(data)
        for function in (data.getVar("ROOTFS_POSTPROCESS_COMMAND") or "").replace(";", " ").split():
            if function in ours and re.search(r"\$\{localstatedir\}.*-delete|rm .*\$\{localstatedir\}", data.getVar(function, False) or ""):
                self.fault(*ours[function], f"{function} empties /var before the list of packages in it was read",
                           "do it in IMAGE_PREPROCESS_COMMAND")


def known_to_core():
    """Variables that openembedded-core and the other layers set, by the data that comes with oelint-adv."""
    if not hasattr(known_to_core, "names"):
        import oelint_data
        names = set(standin.VARIABLES)
        for file in (Path(oelint_data.__file__).parent / standin.SERIES).glob("*.json"):
            names.update(json.loads(file.read_text()).get("variables", {}).get("known", []))
        known_to_core.names = names
    return known_to_core.names


def main():
    project, scratch, machine, distro, extra = sys.argv[1:]
    parse = Parse(Layer(project), Path(scratch), extra == "extra")
    try:
        parse.configure(machine, distro, sys.stdin.read())
        parse.take_log(parse.layer.path / "conf" / "layer.conf")
        parse.recipes()
    except bb.BBHandledException:
        pass
    except Exception as problem:  # noqa: BLE001  whatever the configuration makes BitBake raise
        parse.complain(parse.layer.path / "conf" / "layer.conf", problem)
    parse.take_log(parse.layer.path / "conf" / "layer.conf")
    print(json.dumps({"faults": parse.faults, "read": sorted(parse.read), "skipped": parse.skipped,
                      "parsed": sorted(parse.parsed)}))


if __name__ == "__main__":
    main()
