"""Containers of third parties are known to optree once their module is there, and not before."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import optree

from microbatch.loading.plugins import register_containers

ANNOUNCE = """
@hookimpl
def microbatch_register_containers():
    return [ContainerInfo(
        type="acme_boxes:{name}",
        flatten=lambda box: ((box.content,), None, ("content",)),
        unflatten=lambda auxiliary, children: __import__("acme_boxes").Box(children[0]),
    )]
"""
BOX = """
class Box:
    def __init__(self, content): self.content = content
"""


def leaves(box: Any) -> list[Any]:
    return optree.tree_leaves(box, namespace="microbatch")  # type: ignore[return-value]


def test_a_container_is_registered_once_its_module_is_imported(site: Any) -> None:
    site.install("acme", ANNOUNCE.format(name="Box"))
    site.module("acme_boxes", BOX)
    plugins = site.plugins()
    register_containers(plugins)
    assert "acme_boxes" not in sys.modules
    box = importlib.import_module("acme_boxes").Box([1, 2])
    assert leaves(box) == [box]
    register_containers(plugins)
    register_containers(plugins)
    assert leaves(box) == [1, 2]
    doubled = optree.tree_map(lambda leaf: leaf * 2, box, namespace="microbatch")
    assert doubled.content == [2, 4]  # type: ignore[attr-defined]
    assert plugins.plugins()[0].reason == ""
    assert "container acme_boxes:Box" in plugins.plugins()[0].summary


def test_a_container_that_is_not_there_is_reported_once_and_raises_nothing(site: Any) -> None:
    site.install("acme", ANNOUNCE.format(name="Crate"))
    site.module("acme_boxes", BOX)
    importlib.import_module("acme_boxes")
    plugins = site.plugins()
    register_containers(plugins)
    register_containers(plugins)
    (line,) = plugins.plugins()
    assert line.reason.count("container acme_boxes:Crate cannot be registered: AttributeError") == 1
