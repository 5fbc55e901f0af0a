"""Walks over all files of an image, from inside, and prints what should not be there; stdin tells what to look for."""

import json
import os
import re
import sys
from collections import Counter

APART = ("/proc", "/sys", "/dev")
OF_THE_ENGINE = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
"""What it lays over the image's own while a container runs."""
SETTINGS = ("pip.conf", ".netrc", ".pypirc", ".npmrc", ".dockercfg", "resolv.conf", "sources.list")
CERTIFICATES = (".pem", ".crt", ".key", ".p12", ".pfx", ".jks")
KNOWN = ("/usr/share/ca-certificates/", "/etc/ssl/certs/", "/site-packages/certifi/")


def paths():
    """Every file of the image."""
    for folder, folders, files in os.walk("/"):
        folders[:] = [each for each in folders if not os.path.join(folder, each).startswith(APART)]
        yield from {os.path.join(folder, each) for each in files}.difference(OF_THE_ENGINE)


def is_text(path):
    """Whether a file may tell something that its package does not."""
    # Libraries are the same to the byte as in the wheels, whose hashes were checked; bytecode is made of them.
    return ".so" not in os.path.basename(path) and not path.endswith(".pyc") and not os.path.islink(path)


def scan(secrets, places):
    """What was found, by kind."""
    rules = [(word.encode(), re.compile(rule.encode())) for word, rule in secrets.items()]
    found, seen = {"secrets": [], "places": [], "settings": [], "certificates": []}, Counter()
    for path in paths():
        if os.path.basename(path) in SETTINGS:
            found["settings"].append(path)
        if path.endswith(CERTIFICATES) and not any(known in os.path.realpath(path) for known in KNOWN):
            found["certificates"].append(path)
        if not is_text(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        seen["seen"] += 1
        # A plain word is found ten times as fast.
        hits = [hit for word, rule in rules if word in content and (hit := rule.search(content))]
        found["secrets"] += [[path, hit.group()[:16].decode(errors="replace")] for hit in hits]
        found["places"] += [[path, place] for place in places if place.encode() in content]
    return {**found, **seen}


def trust():
    """How many certificates are trusted, how many of those the distribution brings, and what was added."""
    with open("/etc/ssl/certs/ca-certificates.crt") as bundle, open("/etc/ca-certificates.conf") as listed:
        return {
            "trusted": bundle.read().count("BEGIN CERTIFICATE"),
            "distributed": sum(line.strip().endswith(".crt") and line[0] not in "#!" for line in listed),
            "added": os.listdir("/usr/local/share/ca-certificates"),
        }


if __name__ == "__main__":
    print(json.dumps({**scan(**json.load(sys.stdin)), **trust()}))
