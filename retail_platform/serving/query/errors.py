"""What is wrong with a question, in words that both faces pass on."""


class QuestionError(Exception):
    """A question cannot be answered as it was asked.

    Attributes:
        argument: where it is wrong, as the person wrote it, for example `where.net_revenue.gt`.
        detail: what was found, what was expected, and what it may be.
    """

    def __init__(self, argument: str, detail: str) -> None:
        super().__init__(f"{argument}: {detail}")
        self.argument = argument
        self.detail = detail


class NotAllowedError(QuestionError):
    """The person's role may not ask this; `detail` names the role that may."""
