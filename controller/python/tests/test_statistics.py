"""The statistics against SciPy, and what they refuse."""

import unittest

import numpy as np
from scipy import stats

from aegis_reflex import statistics
from aegis_reflex.statistics import Bootstrap


class AgainstSciPy(unittest.TestCase):
    def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(self):
        for b, c in ((0, 0), (1, 0), (20, 5), (5, 20), (300, 250), (2, 900)):
            found = statistics.mcnemar(b, c)
            if b + c == 0:
                self.assertEqual((found.one_sided, found.two_sided), (1.0, 1.0))
                continue
            for value, alternative in ((found.one_sided, "greater"), (found.two_sided, "two-sided")):
                np.testing.assert_allclose(value, stats.binomtest(b, b + c, 0.5, alternative).pvalue, rtol=1e-9)
            mid = stats.binom.sf(b, b + c, 0.5) + stats.binom.pmf(b, b + c, 0.5) / 2
            np.testing.assert_allclose(statistics.mcnemar_mid_p(b, c), mid, rtol=1e-9)

    def test_intervals_of_proportions(self):
        for k, n in ((0, 10), (10, 10), (7, 10), (133, 700)):
            exact = stats.binomtest(k, n).proportion_ci(0.9, "exact")
            np.testing.assert_allclose(statistics.clopper_pearson(k, n, 0.9), exact, rtol=1e-9, atol=1e-12)

    def test_holm(self):
        values = [0.01, 0.04, 0.03, 0.5]
        order, running = np.argsort(values), 0.0
        expected = np.empty(4)
        for rank, place in enumerate(order):
            running = max(running, min(1.0, (4 - rank) * values[place]))
            expected[place] = running
        np.testing.assert_allclose(statistics.holm(values), expected)

    def test_an_auroc_is_the_scaled_rank_sum(self):
        draw = np.random.default_rng(1)
        labels = draw.random(300) < 0.3
        scores = np.round(draw.random(300) + 0.4 * labels, 1)
        rank_sum = stats.mannwhitneyu(scores[labels], scores[~labels]).statistic
        np.testing.assert_allclose(statistics.auroc(labels, scores), rank_sum / (labels.sum() * (~labels).sum()))
        groups = np.array(["left", "right"])[draw.integers(0, 2, 300)]
        found = statistics.auroc(labels, scores, groups=groups, clusters=np.arange(300), bootstrap=Bootstrap(500))
        self.assertTrue(found.lower <= found.estimate <= found.upper and found.clusters == 300)
        self.assertEqual(found.estimate, statistics.auroc(labels, scores, groups=groups))

    def test_power_is_what_simulation_finds(self):
        draw = np.random.default_rng(2)
        kinds = draw.multinomial(60, [0.25, 0.05, 0.7], size=4000)
        rejected = np.mean([statistics.mcnemar(int(b), int(c)).one_sided <= 0.05 for b, c, _ in kinds])
        power = statistics.mcnemar_power(0.25, 0.05, alpha=0.05, n=60)
        self.assertLess(abs(rejected - power), 4 * np.sqrt(power * (1 - power) / 4000))
        size = statistics.mcnemar_sample_size(0.25, 0.05, alpha=0.05, power=0.9)
        self.assertGreaterEqual(statistics.mcnemar_power(0.25, 0.05, alpha=0.05, n=size.stable), 0.9)

    def test_an_e_value_is_the_ratio_of_a_uniform_mixture(self):
        process = statistics.McNemarProcess()
        for treatment, control in [(True, False)] * 9 + [(False, True)] * 2 + [(True, True)] * 5:
            process.observe(treatment, control)
        grid = np.linspace(0.5, 1.0, 200_001)
        mixture = np.trapezoid(grid**9 * (1 - grid) ** 2, grid) * 2
        np.testing.assert_allclose(process.e_value, mixture / 0.5**11, rtol=1e-6)
        self.assertTrue(process.rejects(0.2) or process.p_value > 0.2)


class Paired(unittest.TestCase):
    def test_effects_and_budgets(self):
        weak = np.array([True, False, False, True, False, True])
        arm = np.array([True, True, False, False, True, True])
        keys = dict(task=[0, 0, 0, 1, 1, 1], initial_state=[0, 1, 2, 0, 1, 2])
        found = statistics.paired_effects(weak, arm, **keys, bootstrap=Bootstrap(200))
        self.assertEqual((found.recovered.k, found.recovered.n, found.broken.k, found.broken.n), (2, 3, 1, 3))
        self.assertEqual(found.mcnemar, statistics.mcnemar(2, 1))
        np.testing.assert_allclose(found.net_effect, 1 / 6)
        spent = (np.full(6, 1), np.full(6, 100), np.full(6, 30))
        match = statistics.budget_match(spent, spent, **keys, tolerance=(0.25, 0.05), bootstrap=Bootstrap(200, confidence=0.9))
        self.assertEqual({one.verdict for one in match.values()}, {"matched"})

    def test_strided_columns_are_read(self):
        labels = np.array([[True, False], [False, False], [True, True]])[:, 0]
        self.assertEqual(statistics.auroc(labels, np.arange(6.0)[::-2]), 0.5)


class Refused(unittest.TestCase):
    def test_arguments(self):
        ok = np.array([True, False])
        for call, error, words in (
            (lambda: statistics.clopper_pearson(7, 3), ValueError, "0 ≤ k ≤ n"),
            (lambda: statistics.auroc(ok, [1.0, 2.0, 3.0]), ValueError, "scores: found 3 rows; valid is 2"),
            (lambda: statistics.auroc([0, 2], [1.0, 2.0]), ValueError, "labels: found other values"),
            (lambda: statistics.auroc(ok, np.ones((2, 2))), ValueError, r"scores: found shape \(2, 2\)"),
            (lambda: statistics.auroc(ok, ["a", "b"]), ValueError, "scores: found <U1; valid is numbers"),
            (lambda: statistics.auroc([True, True], [1.0, 2.0]), ValueError, "AUROC needs positives and negatives"),
            (lambda: statistics.bootstrap_mean([1.0, np.nan], [0, 1]), ValueError, r"values\[1\]"),
            (lambda: statistics.bootstrap_mean([1.0, 2.0], [0, 1], bootstrap=Bootstrap(method="t")), ValueError, "method"),
            (lambda: statistics.paired_effects(ok, ok, task=[0], initial_state=[0, 1]), ValueError, "valid is 1"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                call()


class AgainstStatsmodels(unittest.TestCase):
    """A second peer, where it is installed; `sim_bridge/environments/evaluators.sh` installs it."""

    @classmethod
    def setUpClass(cls):
        try:
            import statsmodels  # noqa: F401
        except ImportError:
            raise unittest.SkipTest("statsmodels is not installed") from None

    def test_mcnemar(self):
        from statsmodels.stats.contingency_tables import mcnemar

        for b, c in ((20, 5), (5, 20), (300, 250), (7, 7)):
            expected = mcnemar([[10, b], [c, 10]], exact=True).pvalue
            np.testing.assert_allclose(statistics.mcnemar(b, c).two_sided, expected, rtol=1e-9)

    def test_holm(self):
        from statsmodels.stats.multitest import multipletests

        values = np.random.default_rng(0).random(9) ** 3
        np.testing.assert_allclose(statistics.holm(values), multipletests(values, method="holm")[1], rtol=1e-12)

    def test_clopper_pearson(self):
        from statsmodels.stats.proportion import proportion_confint

        for k, n in ((0, 9), (9, 9), (133, 700)):
            expected = proportion_confint(k, n, 0.1, "beta")
            np.testing.assert_allclose(statistics.clopper_pearson(k, n, 0.9), expected, rtol=1e-9, atol=1e-12)


class Counts(unittest.TestCase):
    """Counts beyond what an exact test can do in seconds, and those that are none."""

    def test_refused(self):
        huge = 2**63
        for call, error, words in (
            (lambda: statistics.mcnemar(huge, huge), ValueError, "b: found 9223372036854775808; valid is 0 to 1000000000"),
            (lambda: statistics.mcnemar_mid_p(1, 10**17), ValueError, "c: found"),
            (lambda: statistics.clopper_pearson(2**60, 2**62), ValueError, "k: found"),
            (lambda: statistics.mcnemar(-1, 2), ValueError, "b: found -1; valid is 0"),
            (lambda: statistics.mcnemar(1.0, 2), TypeError, "b: found 1.0; valid is a whole number"),
            (lambda: statistics.mcnemar(True, 2), ValueError, "b: found True"),
            (lambda: statistics.mcnemar_power(0.1, 0.0, alpha=0.05, n=-1), ValueError, "n: found -1"),
            (lambda: statistics.bootstrap_mean([1.0, 2.0], [0, 1], bootstrap=Bootstrap(seed=-1)), ValueError, "bootstrap.seed: found -1"),
            (lambda: statistics.bootstrap_mean([1.0, 2.0], [0, np.nan]), ValueError, "not finite; valid is whole numbers or text"),
            (lambda: statistics.holm(np.array([0.1 + 0j])), ValueError, "p_values: found complex128; valid is numbers"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                call()

    def test_largest(self):
        found = statistics.mcnemar(10**9, 10**9)
        self.assertAlmostEqual(found.two_sided, 1.0)
        lower, upper = statistics.clopper_pearson(5 * 10**8, 10**9)
        self.assertTrue(0.4999 < lower < 0.5 < upper < 0.5001)

    def test_tasks_by_name_and_outcomes_of_either_kind(self):
        weak, arm = [1, 0, 0, 1] * 10, [1, 1, 0, 1] * 10
        task, start = ["a", "b"] * 20, list(range(40))
        settings = Bootstrap(replicates=200)
        named = statistics.paired_effects(weak, arm, task=task, initial_state=start, bootstrap=settings)
        numbered = statistics.paired_effects(weak, arm, task=[0, 1] * 20, initial_state=start, bootstrap=settings)
        self.assertEqual(named, numbered)
        process = statistics.McNemarProcess()
        process.observe(1, np.bool_(False))
        self.assertGreater(process.e_value, 1.0)


if __name__ == "__main__":
    unittest.main()
