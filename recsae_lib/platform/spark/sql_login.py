"""Who may log in to the SQL server: whoever knows its token, or whom Hive's own means let in (LDAP, Kerberos, PAM)."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.session import read_property
from recsae_lib.redaction import remember

TOKEN_VARIABLE = "RECSAE_SQL_TOKEN"
SHORTEST_TOKEN = 20  # characters: nothing slows down who guesses
MEANS = "hive.server2.authentication"  # of Hive: NONE, LDAP, KERBEROS, PAM, CUSTOM
OPEN = ("", "NONE", "NOSASL")  # let everybody in

# Spark's server asks a class that it knows by name. Spark's own compiler makes it, so that no jar has to be shipped.
CLASS = "recsae.TokenLogin"
SOURCE = """
package recsae;
public class TokenLogin implements org.apache.hive.service.auth.PasswdAuthenticationProvider {
  private static final java.math.BigInteger EXPECTED = new java.math.BigInteger("DIGEST", 16);
  public void Authenticate(String user, String password) throws javax.security.sasl.AuthenticationException {
    byte[] given;
    try {
      given = java.security.MessageDigest.getInstance("SHA-256").digest(password.getBytes("UTF-8"));
    } catch (Exception failure) {
      throw new javax.security.sasl.AuthenticationException("No password can be read");
    }
    if (!EXPECTED.equals(new java.math.BigInteger(1, given))) {
      throw new javax.security.sasl.AuthenticationException("The password is not the token of this server");
    }
  }
}
"""


@dataclass(frozen=True)
class Login:
    """How clients log in.

    Parameters
    ----------
    digest : SHA-256 of the token, in hexadecimal digits; None where the properties say how, or nobody is asked.
    system : Java system properties, where Hive looks for the settings of its own means.
    """

    digest: str | None
    system: dict[str, str]

    @property
    def properties(self) -> dict[str, str]:
        """Spark properties of the server."""
        return {} if self.digest is None else {f"spark.hadoop.{MEANS}": "CUSTOM"}

    def install(self, jvm: Any) -> None:
        """Have the server that this thread starts next ask for the login."""
        for name, value in self.system.items():
            jvm.java.lang.System.setProperty(name, value)
        if self.digest is None:
            return
        compiler = jvm.org.codehaus.janino.SimpleCompiler()
        thread = jvm.java.lang.Thread.currentThread()
        compiler.setParentClassLoader(thread.getContextClassLoader())
        compiler.cook(SOURCE.replace("DIGEST", self.digest))
        thread.setContextClassLoader(compiler.getClassLoader())  # of the threads that it starts, too
        jvm.java.lang.System.setProperty("hive.server2.custom.authentication.class", CLASS)


def login_of(properties: Path, host: str) -> Login:
    """Return how clients log in. The token leaves the environment: neither Java nor Python workers inherit it.

    Parameters
    ----------
    properties : Spark properties file; ``spark.hadoop.hive.server2.authentication…`` are Hive's own means.
    host : where the server is to listen.

    Raises
    ------
    InputError : it is reached from other machines and would ask for no login; the token is too short; or there is a
        token beside means of Hive's.
    """
    means = read_property(properties, f"spark.hadoop.{MEANS}").upper()
    token = os.environ.pop(TOKEN_VARIABLE, "")
    remember([token])
    if token and means not in OPEN:
        raise InputError(
            f"{TOKEN_VARIABLE} is set, and {properties} has spark.hadoop.{MEANS} {means}", "Keep one of the two"
        )
    if token and len(token) < SHORTEST_TOKEN:
        raise InputError(
            f"The token in {TOKEN_VARIABLE} is shorter than {SHORTEST_TOKEN} characters",
            "Take a longer one, for example of `openssl rand -hex 32`",
        )
    if not token and means in OPEN and not is_of_this_machine(host):
        raise InputError(
            f"The SQL server would let everybody who reaches {host or 'this machine'} read all tables",
            f"Set the environment variable {TOKEN_VARIABLE} to a long secret, which clients give as password; or "
            f"spark.hadoop.{MEANS} in {properties}, for LDAP or Kerberos; or leave --host out",
        )
    given = properties.read_text("utf-8")
    names = re.findall(rf"^\s*spark\.hadoop\.({re.escape(MEANS)}\.[\w.]+)[\s=:]", given, re.M)
    system = {name: read_property(properties, f"spark.hadoop.{name}") for name in names}
    return Login(hashlib.sha256(token.encode()).hexdigest() if token else None, system)


def is_of_this_machine(host: str) -> bool:
    """Whether only this machine reaches an address; not so of one that cannot be resolved."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
