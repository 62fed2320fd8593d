"""How a lie is told and what has to come of it: it happened (the proxy counts), the client named it and ended in the right
status, and with an honest node the same profile goes on."""
import re
import time
import unittest


class Liar:
    def lie(self, attack, *words, code, says, device=None, check=True, timeout=120):
        """Runs a command while the proxy lies, then looks whether all is well."""
        with self.proxy.lying(attack) as told:
            done = (device or self.one).call(*words, timeout=timeout)
        self.assertGreater(told.bites, 0, f"the attack did nothing: {done.args}\n{done.stderr}")
        told = f"{' '.join(done.args)}: {done.returncode}\n{done.stdout}{done.stderr}{told.paths}"
        self.assertIn(done.returncode, code if isinstance(code, tuple) else (code,), told)
        self.assertTrue(re.search(says, done.stderr), f"no '{says}' in: {told}")
        if check:
            self.world.unharmed()
        return done


class Slowest(unittest.TextTestResult):
    """Says what each test took."""

    def startTest(self, test):
        self.begun = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        print(f"{time.monotonic() - self.begun:6.1f} s {test.id().split('.')[-1]}", flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIPPED {test.id().split('.')[-1]}: {reason}", flush=True)


def main():
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=Slowest))
