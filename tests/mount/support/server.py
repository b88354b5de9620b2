# SPDX-License-Identifier: Apache-2.0
"""What every S3 server of the tests has in common, and boto3 as the independent client."""
import functools

import botocore.session
from botocore.config import Config


@functools.lru_cache(maxsize=None)
def _session():
    """One session for all clients: it keeps the parsed models of the service."""
    return botocore.session.Session()


class Server:
    """An S3 server that is up. kind is "s3d", "s3d-tls" or "rgw"."""

    kind = ""
    tolerated = ()  # regexes of complaints that the server is the reason of
    endpoint = ""
    region = "us-east-1"
    virtual_host = "localhost"  # buckets are served as BUCKET.virtual_host, too
    access_key = ""
    secret_key = ""
    ca_bundle = None  # path of the CA's certificate when the endpoint is https

    def client(self, access_key=None, secret_key=None, session_token=None, style="path", **kwargs):
        """A new boto3 client that never retries; kwargs go to botocore's Config."""
        config = Config(s3={"addressing_style": style}, signature_version="s3v4",
                        retries={"mode": "standard", "total_max_attempts": 1},
                        connect_timeout=10, read_timeout=60,
                        **{"max_pool_connections": 32, **kwargs})
        return _session().create_client(
            "s3", region_name=self.region, endpoint_url=self.endpoint,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            aws_session_token=session_token, verify=self.ca_bundle, config=config)

    @functools.cached_property
    def s3(self):
        """The client that looks at buckets from the side; made once, with the server's own key."""
        return self.client()

    def mount_options(self):
        """The -o options with which a mount finds this server."""
        options = {"endpoint": self.endpoint, "region": self.region}
        if self.ca_bundle:
            options["ca_bundle"] = str(self.ca_bundle)
        return options

    def virtual_endpoint(self):
        """The endpoint below which buckets are host names."""
        scheme, _, authority = self.endpoint.partition("://")
        return "%s://%s:%s" % (scheme, self.virtual_host, authority.rpartition(":")[2])

    def mount_environment(self):
        """The credentials, as a user would hand them to the daemon."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def reset(self):
        """Takes back what a test scripted on the server (faults, delays, keys)."""

    def empty_bucket(self, bucket):
        """Deletes what a test left, where keeping it costs memory."""

    def stop(self):
        """Ends the server, if it is ours."""
