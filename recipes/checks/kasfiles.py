"""The kas files: valid by kas's own schema, complete, and every repository of theirs locked."""

import logging
import re

import jsonschema
import yaml
from kas import configschema
from kas.includehandler import IncludeHandler
from kas.kasusererror import KasUserError

from layer import BITBAKE, SERIES

COMMIT = re.compile(r"^[0-9a-f]{40}$")


def load(file):
    """The content as plain data, and the node tree, which knows the lines."""
    text = file.read_text()
    return yaml.safe_load(text), yaml.compose(text)


def line_at(node, path):
    """The line of what a path of keys leads to, or of the last of them that is there."""
    line = 1
    for key in path:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if str(yaml.safe_load(name.value) if name.tag != "tag:yaml.org,2002:str" else name.value) == str(key):
                    line, node = name.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line


def check(layer, report):
    """Each file by itself, then each as kas puts it together."""
    for file in sorted(layer.recipes.glob("*.yml")):
        with report.case(f"kas: {file.name} fits the schema") as case:
            check_schema(case, file)
    for file in layer.kas_files():
        with report.case(f"kas: {file.name} is locked") as case:
            check_lock(case, file)
    for file in sorted(layer.recipes.glob("*.lock.yml")):
        with report.case(f"kas: {file.name} belongs to a file") as case:
            if not owner_of(file).exists():
                case.fault(file, 0, f"there is no {owner_of(file).name}", "remove the lock file, or rename it")
    for file in layer.kas_files():
        with report.case(f"kas: {file.name} put together") as case:
            check_merged(layer, case, file)


def owner_of(lock):
    """The kas file that a lock file belongs to."""
    return lock.with_name(lock.name.replace(".lock.yml", ".yml"))


def check_schema(case, file):
    """kas's schema, offline."""
    try:
        data, node = load(file)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        case.fault(file, mark.line + 1 if mark else 0, f"no YAML: {problem}", "correct it")
        return
    for error in jsonschema.Draft7Validator(configschema.CONFIGSCHEMA).iter_errors(data):
        reason = min(error.context, key=lambda e: -len(e.path)) if error.context else error
        where = [*error.path, *(reason.path if reason is not error else [])]
        case.fault(file, line_at(node, where), f"{'.'.join(map(str, where)) or 'the file'}: {reason.message}",
                   "see kas's documentation of the project configuration")


def check_lock(case, file):
    """Each repository that is fetched has a branch in the file and a commit in its lock; the lock has no others."""
    data, node = load(file)
    lock_file = file.with_name(f"{file.stem}.lock.yml")
    commits, lock_node = {}, None
    if lock_file.exists():
        lock, lock_node = load(lock_file)
        commits = {name: entry.get("commit") for name, entry in lock["overrides"]["repos"].items()}
    fetched = {name: repo for name, repo in (data.get("repos") or {}).items() if repo and repo.get("url")}
    again = f"kas lock --update recipes/{file.name}"
    for name, repo in fetched.items():
        line = line_at(node, ["repos", name])
        if not repo.get("branch"):
            case.fault(file, line, f"{name} has no branch", "name the branch that the commit of the lock lies on")
        wanted = BITBAKE if name == "bitbake" else SERIES
        if repo.get("branch") and repo["branch"] != wanted:
            case.fault(file, line_at(node, ["repos", name, "branch"]), f"{name} is on {repo['branch']}, the layer is for {wanted}",
                       "take the branch of the series")
        if name not in commits:
            case.fault(file, line, f"{name} is not in {lock_file.name}", again)
        if repo.get("commit") and repo["commit"] != commits.get(name):
            case.fault(file, line_at(node, ["repos", name, "commit"]), f"{name} has another commit in {lock_file.name}",
                       "leave the commit to the lock file")
        if not repo["url"].startswith("https://"):
            case.fault(file, line, f"{name} is not fetched by https", "use the project's https address")
    for name, commit in commits.items():
        line = line_at(lock_node, ["overrides", "repos", name])
        if name not in fetched:
            case.fault(lock_file, line, f"{name} is locked and not fetched by {file.name}", again)
        if not COMMIT.match(str(commit)):
            case.fault(lock_file, line, f"{commit} is no full commit", again)


def locked(layer):
    """Every locked repository and its commit."""
    commits = {}
    for file in sorted(layer.recipes.glob("*.lock.yml")):
        for name, entry in load(file)[0]["overrides"]["repos"].items():
            commits[name] = entry["commit"]
    return commits


def merged(file):
    """The configuration as kas puts it together from includes and locks."""
    logging.getLogger().setLevel(logging.CRITICAL)
    handler = IncludeHandler([str(file)])
    handler.top_repo_path = str(file.parent.parent)
    # It would ask git; all our files are of one repository.
    handler.ensure_from_same_repo = lambda: None
    config, missing = handler.get_config()
    return config, missing


def check_merged(layer, case, file):
    """What kas would build exists."""
    data, node = load(file)
    for number, include in enumerate((data.get("header") or {}).get("includes") or []):
        if isinstance(include, str) and not (layer.project / include).is_file():
            case.fault(file, line_at(node, ["header", "includes", number]), f"there is no {include}",
                       "name the file from the project's directory on")
    try:
        config, missing = merged(file)
    except KasUserError as problem:
        case.fault(file, 0, str(problem), "correct the file, or what it includes")
        return
    if not config.get("machine"):
        # A part, to be included or added behind a colon.
        return
    if missing:
        case.fault(file, 0, f"includes from repositories that are not there: {missing}", "name only files of the project")
    recipes = {re.sub(r"(_.*)?\.bb$", "", recipe.name) for recipe in layer.metadata(".bb")}
    for target in config.get("target", []):
        if target.split(":")[0] not in recipes:
            case.fault(file, line_at(node, ["target"]), f"the layer has no recipe {target}",
                       f"correct the target; there are: {', '.join(sorted(recipes))}")
    distro = layer.path / "conf" / "distro" / f"{config.get('distro')}.conf"
    if not distro.exists():
        case.fault(file, line_at(node, ["distro"]), f"the layer has no {distro.relative_to(layer.path)}",
                   "correct the distro")
    for name, repo in config["repos"].items():
        for inside in ((repo or {}).get("layers") or {}) if not (repo or {}).get("url") else {}:
            if not (layer.project / inside / "conf" / "layer.conf").exists():
                case.fault(file, line_at(node, ["repos", name, "layers", inside]), f"{inside} is no layer",
                           "correct the path")
        if (repo or {}).get("url"):
            commit = config.get("overrides", {}).get("repos", {}).get(name, {}).get("commit")
            if not COMMIT.match(str(commit)):
                case.fault(file, 0, f"kas would not lock {name}", "add it to the lock file of the kas file that names it")


def local_conf(config):
    """What kas writes into local.conf, in its order."""
    header = config.get("local_conf_header", {})
    return "\n".join(text for _, text in sorted(header.items()))


def builds(layer):
    """(name, machine, distro, local.conf, targets) of each kas file that is built: those with a machine."""
    found = []
    for file in layer.kas_files():
        config, _ = merged(file)
        if config.get("machine"):
            found.append((file.name, config["machine"], config.get("distro", ""), local_conf(config),
                          [target.split(":")[0] for target in config.get("target", [])]))
    return found
