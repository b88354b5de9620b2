# SPDX-License-Identifier: Apache-2.0
"""What the tests of scripted faults share."""

XML_ERROR = '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>x</Message></Error>'


def play(server, what, op="GetObject", count=1, **match):
    """Scripts one fault; fault_hits()["fault"] tells how often it came."""
    server.faults({"name": "fault", "match": {"op": op, **match}, "count": count, "do": what})


def tolerant(mount, **options):
    """A mount that may complain, with a short op_timeout."""
    mounted = mount(options={"op_timeout": "3s", **options})
    mounted.tolerate(".")
    return mounted


def informed(mount, **options):
    """The same, and it knows what conditions the server honours."""
    mounted = tolerant(mount, **options)
    with open(mounted / "probe", "xb"):
        pass
    return mounted
