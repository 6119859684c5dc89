# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX is given: names and variables that exist, options that its modules have, a context for the image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import ACTIONS
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document, variables

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".cache" / "bench"


class _Loader(yaml.SafeLoader):
    """YAML with Ansible's !unsafe."""


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("!unsafe", _text)


@pytest.fixture(scope="module")
def data() -> dict[str, t.Any]:
    found: dict[str, t.Any] = yaml.load((ROOT / "awx/flotilla.yml").read_text(), Loader=_Loader)
    return found


def _questions(data: dict[str, t.Any]) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for each in (*data["awx_job_templates"], *data["awx_workflows"]):
        for question in each.get("survey", []):
            yield each["name"], question


def test_every_template_has_its_playbook(data: dict[str, t.Any]) -> None:
    for template in data["awx_job_templates"]:
        assert (ROOT / template["playbook"]).is_file(), template["name"]


def test_every_question_is_about_a_variable_with_allowed_answers(data: dict[str, t.Any]) -> None:
    leaves = set(document("fleet")["$defs"]["leaves"]["items"]["enum"])
    allowed = {"fleet_allow": leaves, "fleet_action": set(ACTIONS)}
    for name, question in _questions(data):
        assert question["variable"] in variables(), name
        assert set(question.get("choices", [])) <= allowed.get(question["variable"], set()), name
        assert question["required"] in (True, False), name


def test_what_a_workflow_asks_its_templates_ask_too(data: dict[str, t.Any]) -> None:
    """AWX passes on to a template only what the template asks itself."""
    asked: dict[str, set[str]] = {}
    for name, question in _questions(data):
        asked.setdefault(name, set()).add(question["variable"])
    for workflow in data["awx_workflows"]:
        steps = [step for step in workflow["steps"] if step != "approve"]
        assert set(steps) <= {template["name"] for template in data["awx_job_templates"]}
        assert asked[workflow["name"]] == asked[steps[-1]], workflow["name"]
        assert workflow["steps"].index("approve") == len(workflow["steps"]) - 2, (
            "nothing is changed before the approval"
        )


def _nodes(workflow: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    template = jinja2.Environment(autoescape=False)  # JSON, escaped by to_json
    template.filters["to_json"] = json.dumps
    source = (ROOT / "awx/templates/nodes.json.j2").read_text()
    nodes: list[dict[str, t.Any]] = json.loads(
        template.from_string(source).render(item=workflow, awx_organization="Default")
    )
    return nodes


def test_workflows_become_chains_of_nodes(data: dict[str, t.Any]) -> None:
    for workflow in data["awx_workflows"]:
        nodes = _nodes(workflow)
        following = [[node["identifier"] for node in each["related"]["success_nodes"]] for each in nodes]
        assert following == [[node["identifier"]] for node in nodes[1:]] + [[]]
        kinds = [node["unified_job_template"]["type"] for node in nodes]
        assert kinds.count("workflow_approval") == 1


@pytest.mark.soak
def test_awxs_own_modules_know_every_option(data: dict[str, t.Any]) -> None:
    """The options of awx.awx, as the version says that goes with ansible 12.3.0 (make bench brings it)."""
    (play,) = yaml.load((ROOT / "awx/apply.yml").read_text(), Loader=_Loader)
    tasks = [(module, task[module]) for task in play["tasks"] for module in task if module.startswith("awx.awx.")]
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", *(module for module, _arguments in tasks)]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(BENCH)}
    told = subprocess.run(command, env=environment, cwd=BENCH, capture_output=True, text=True, check=True)
    options = {name: found["doc"]["options"] for name, found in json.loads(told.stdout).items()}
    assert len(options) == len(tasks) == 7
    for module, arguments in tasks:
        assert set(arguments) <= set(options[module]), module
    known = options["awx.awx.workflow_job_template"]["workflow_nodes"]["suboptions"]
    for workflow in data["awx_workflows"]:
        for node in _nodes(workflow):
            assert set(node) <= set(known)
            assert set(node["unified_job_template"]) <= set(known["unified_job_template"]["suboptions"])


def test_the_context_of_the_image_has_the_collection(tmp_path: Path) -> None:
    subprocess.run([ROOT / "tools/build", tmp_path / "dist"], check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "awx").mkdir()
    shutil.copy(ROOT / "awx/execution-environment.yml", tmp_path / "awx")
    programs = Path(sys.executable).parent
    command = [
        str(programs / "ansible-builder"),
        "create",
        "--file",
        "execution-environment.yml",
        "--context",
        "context",
    ]
    command += ["--output-filename", "Containerfile"]
    subprocess.run(command, cwd=tmp_path / "awx", check=True, capture_output=True)
    context = tmp_path / "awx/context"
    (artifact,) = (context / "_build/flotilla").glob("*.tar.gz")
    assert artifact.read_bytes() == next((tmp_path / "dist").glob("*.tar.gz")).read_bytes()
    recipe = (context / "Containerfile").read_text()
    copied, installed = (
        recipe.index("COPY _build/flotilla /build/flotilla"),
        recipe.index("ansible-galaxy collection install"),
    )
    assert copied < installed
    assert f"/build/flotilla/{artifact.name}" in (context / "_build/requirements.yml").read_text()

    # What the image's own build will ask the collection: its Python packages and Debian's or EL's.
    collections = tmp_path / "collections"
    galaxy = [
        str(programs / "ansible-galaxy"),
        "collection",
        "install",
        "--offline",
        "-p",
        str(collections),
        str(artifact),
    ]
    subprocess.run(galaxy, cwd=tmp_path, check=True, capture_output=True)
    told = subprocess.run(
        [programs / "ansible-builder", "introspect", collections], capture_output=True, text=True, check=True
    )
    wanted = yaml.safe_load(told.stdout)
    wanted = wanted.get("python", {}), wanted.get("system", {})
    assert "SQLAlchemy" in str(wanted[0])
    assert "psycopg" in str(wanted[0])
    assert "openssh-clients" in str(wanted[1])
