from tests.datasets.cases.running import Outcome

EXPECTED: dict[str, Outcome] = {}
