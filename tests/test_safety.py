"""What the source must not do, whoever writes it: load code as data, ping people, listen to the world."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("bot", "planner", "engine", "prompts", "storage")
RUNS_DATA = {  # what turns bytes or texts of somebody into code
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load",
    "marshal.loads", "shelve.open", "dill.load", "joblib.load", "yaml.load", "yaml.unsafe_load", "os.system",
    "os.popen", "subprocess.getoutput", "torch.jit.load", "np.load", "numpy.load",
}  # fmt: skip
# Said by name: data of our own making, with allow_pickle off as it is unless it is asked for.
FINE = {("engine/demo/training.py", "np.load")}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call of the product: file, name as it is written, call."""
    for package in PRODUCT:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    yield file.relative_to(ROOT).as_posix(), ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def test_nothing_that_is_read_is_run():
    found = {(file, name) for file, name, _ in calls() if name in RUNS_DATA}
    assert found == FINE
    assert not [file for file, _, call in calls() if keywords(call).get("allow_pickle", "False") != "False"]
    assert not [file for file, _, call in calls() if keywords(call).get("shell", "False") != "False"]


def test_torch_loads_weights_only():
    loads = [(file, keywords(call)) for file, name, call in calls() if name == "torch.load"]
    assert loads, "there is one, for .pth files"
    assert [file for file, said in loads if said.get("weights_only") != "True"] == []


def test_who_is_pinged_is_said_in_one_place():
    """The client's default is nobody. A call that says something else is the one that calls back who waited."""
    said = {(file, keywords(call).get("allowed_mentions")) for file, _, call in calls()}
    assert {(file, mentions) for file, mentions in said if mentions} == {
        ("bot/discord/client.py", "discord.AllowedMentions.none()"),
        ("bot/discord/delivery.py", "mentions"),
    }
    made = [keywords(call) for _, name, call in calls() if name == "discord.AllowedMentions"]
    assert made == [{"everyone": "False", "roles": "False", "replied_user": "False", "users": "called"}]


def test_nothing_listens_to_the_world():
    everywhere = {"0.0.0.0", "::", ""}
    hosts = [
        (file, ast.unparse(value))
        for file, name, call in calls()
        if name.endswith(("TCPSite", "start_server", "create_server", "run_app", ".bind"))
        for value in [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(value, ast.Constant) and value.value in everywhere
    ]
    assert hosts == []


def test_no_script_hides_a_module_of_python() -> None:
    """Python looks beside a script first: benchmarks/queue.py would be what torch imports as queue."""
    scripts = [path for folder in ("benchmarks", "tests") for path in (ROOT / folder).glob("*.py")]
    assert len(scripts) > 50
    assert not {path.stem for path in scripts} & sys.stdlib_module_names
