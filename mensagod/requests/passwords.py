"""Fields of passwords that several requests share (spec 04, *Logging in*)."""

from attrs import frozen

from mensagod.crypto.passwords import LoginParameters, login_parameters, parse_password_hash
from mensagod.errors import BadValue
from mensagod.wire.fields import Fields, optional, required

MAX_PARAMETER = 1024
"""The longest Password-Algorithm, Password-Salt or Password-Parameters, in code points."""


def parse_parameter(text: str) -> str:
    """Check the length of a text that is returned at logins."""
    if len(text) > MAX_PARAMETER:
        raise BadValue(f"at most {MAX_PARAMETER} characters")
    return text


@frozen(kw_only=True)
class NewPassword(Fields):
    """A new password.

    :ivar hash: the hash that the client made of the password; a secret.
    """

    hash: str = required(
        "Password-Hash", parse_password_hash, "the hash that the client made of the password", secret=True
    )
    algorithm: str = optional("Password-Algorithm", parse_parameter, "returned at logins", default="")
    salt: str = optional("Password-Salt", parse_parameter, "returned at logins", default="")
    parameters: str = optional("Password-Parameters", parse_parameter, "returned at logins", default="")

    @property
    def login_parameters(self) -> LoginParameters:
        """The values to return at logins; those inside the hash take precedence over the fields."""
        return login_parameters(self.hash, self.algorithm, self.salt, self.parameters)

    @classmethod
    def from_hash(cls, password_hash: str) -> "NewPassword":
        """Make the fields for a hash.

        If the hash has Argon2's format, the other fields are set from it, so that another device of the user
        can hash the password in the same way.
        """
        found = login_parameters(password_hash, "", "", "")
        return cls(
            hash=password_hash, algorithm=found.algorithm, salt=found.salt, parameters=found.parameters
        )


@frozen(kw_only=True)
class PasswordFields(Fields):
    """PASSWORD and ORGREVOKE."""

    password_hash: str = required(
        "Password-Hash", parse_password_hash, "the hash that the client made of the password", secret=True
    )
