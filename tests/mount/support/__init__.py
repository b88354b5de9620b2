# SPDX-License-Identifier: Apache-2.0
"""What the mount tests stand on: servers, mounts, certificates, data.

Nothing here reads the environment of the person who runs the tests, apart from PAILFS_*: variables
that name proxies, CA bundles and AWS accounts are removed at import, before botocore looks.
"""
import os
import re

_FOREIGN = re.compile(r"^AWS_|^(REQUESTS|CURL)_CA_|^SSL_CERT_|_CA_(BUNDLE|CERTS?|FILE)$|_proxy$",
                      re.IGNORECASE)


def scrub_environment(environ=os.environ):
    """Removes what would make a test depend on its surroundings; ~/.aws is looked past."""
    for name in [name for name in environ if _FOREIGN.search(name)]:
        del environ[name]
    environ["AWS_CONFIG_FILE"] = os.devnull
    environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    environ["AWS_EC2_METADATA_DISABLED"] = "true"


scrub_environment()
