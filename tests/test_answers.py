"""Answers are data: odd ones come out as they went in, impossible ones are refused with a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BakedProject, Template

HOSTILE = [
    'says "hello"',
    "it's",
    "'''",
    '"""',
    "back\\slash\\",
    'ends in a quote\\"',
    "braces { } {} }",
    "100% #1 $HOME `id` $(id) ;",
    '""" + __import__("os").system("touch owned") + """',
    "O'Brien & Söhne <x>, 東京 🚕",
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_a_hostile_answer_arrives_as_it_was_typed(bake: Callable[..., BakedProject], answer: str) -> None:
    project = bake(project_name=answer, project_slug="my-lake", description=answer, author_name=answer)

    metadata = tomllib.loads(project.read("pyproject.toml"))["project"]
    assert metadata["description"] == answer
    assert metadata["authors"][0]["name"] == answer
    assert answer in project.read("LICENSE")
    assert project.read("README.md").startswith(f"# {answer}\n")
    assert not list(project.path.parent.rglob("owned"))


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"project_slug": "My Lake"}, "The project slug 'My Lake' can't name a folder"),
        ({"project_slug": "../up"}, "The project slug '../up' can't name a folder"),
        ({"project_slug": "1lake"}, "The project slug '1lake' can't name a folder"),
        ({"project_slug": "lake-"}, "The project slug 'lake-' can't name a folder"),
        ({"project_slug": "x" * 51}, "at most 50"),
        ({"project_slug": "nul"}, "The project slug 'nul' is taken"),
        ({"project_slug": "lakehouse"}, "The project slug 'lakehouse' is taken"),
        ({"project_name": "東京", "project_slug": ""}, "The project slug '' can't name a folder"),
        ({"project_name": " ", "project_slug": "my-lake"}, "The project name is empty"),
        ({"description": "two\nlines"}, "The description holds a line break"),
        ({"author_name": "bell\a"}, "The author's name holds a line break or another control character"),
        ({"author_email": "nobody"}, "The e-mail address 'nobody' is not of the form"),
        ({"author_email": 'a"b@example.com'}, "is not of the form name@example.com"),
        ({"first_month": "2024-13"}, "The first month '2024-13' is not a month"),
        ({"first_month": "January"}, "The first month 'January' is not a month"),
        ({"first_month": "2008-12"}, "The first month 2008-12 is outside what the TLC publishes"),
        ({"first_month": "2999-01"}, "The first month 2999-01 is outside what the TLC publishes"),
    ],
)
def test_an_impossible_answer_is_refused_with_a_sentence(
    template: Template, tmp_path: Path, answers: dict[str, str], sentence: str
) -> None:
    result = template.try_to_bake(tmp_path / "baked", **answers)

    assert result.returncode != 0
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert not [path for path in (tmp_path / "baked").rglob("*") if path.is_file()]


def test_a_name_without_letters_is_refused_by_naming_the_question(template: Template, tmp_path: Path) -> None:
    """Without a default for its folder, cookiecutter would say that the output folder exists already."""
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "-o", str(tmp_path), str(template.path)]
    result = subprocess.run([*command, "project_name=!!!"], capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "The project slug '-' can't name a folder" in result.stderr
    assert "already exists" not in result.stderr


def test_every_problem_is_told_at_once(template: Template, tmp_path: Path) -> None:
    result = template.try_to_bake(tmp_path / "baked", author_email="x", first_month="y", author_name=" ")

    told = [line for line in result.stderr.splitlines() if line.startswith("The ")]
    assert len(told) == 3


@pytest.mark.parametrize("license_name", ["MIT", "Apache-2.0", "Proprietary"])
def test_each_licence_names_its_holder(bake: Callable[..., BakedProject], license_name: str) -> None:
    project = bake(license=license_name, author_name="Ada Lovelace")

    text = project.read("LICENSE")
    assert "Ada Lovelace" in text
    assert {"MIT": "MIT License", "Apache-2.0": "Apache License", "Proprietary": "All rights reserved"}[
        license_name
    ] in text
    assert not text.startswith("\n")
    assert text.endswith("\n")
    declared = tomllib.loads(project.read("pyproject.toml"))["project"]["license"]
    assert declared == ("LicenseRef-Proprietary" if license_name == "Proprietary" else license_name)


def test_every_question_has_a_prompt_a_person_understands(template: Template) -> None:
    context = json.loads((template.path / "cookiecutter.json").read_text())
    questions = {key for key in context if not key.startswith("_")}

    assert set(context["__prompts__"]) == questions
    for question in questions:
        prompt, answers = context["__prompts__"][question], context[question]
        if isinstance(answers, list):
            assert set(prompt) == {"__prompt__", *answers}
