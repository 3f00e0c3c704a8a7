//! Knapsack with at most one item of each class, solved exactly over whole numbers. The table is by gain, not by cost: gains are few
//! (at most one recovered episode of each class), and costs many (control steps).

/// Item of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the item brings, at least 1.
    pub gain: usize,
    /// What the item costs.
    pub cost: u64,
}

/// Solution for every budget.
#[derive(Clone, Debug)]
pub struct Knapsack {
    /// Smallest cost of exactly each gain, from 0 on; `None` for a gain that no choice has.
    cheapest: Vec<Option<u64>>,
    /// For each class and each gain of the classes so far, the index of the item taken from the class.
    taken: Vec<Vec<Option<usize>>>,
    /// Gain of each item, by class.
    gains: Vec<Vec<usize>>,
}

impl Knapsack {
    /// Solves for these classes.
    pub fn new(classes: &[Vec<Item>]) -> Self {
        let mut cheapest: Vec<Option<u64>> = vec![Some(0)];
        let mut taken = Vec::with_capacity(classes.len());
        for class in classes {
            let most = class.iter().map(|item| item.gain).max().unwrap_or_default();
            let before = cheapest.clone();
            cheapest.resize(before.len() + most, None);
            let mut from_class = vec![None; cheapest.len()];
            for (index, Item { gain, cost }) in class.iter().enumerate() {
                for (rest, known) in before.iter().enumerate() {
                    let Some(total) = known.and_then(|known| known.checked_add(*cost)) else { continue };
                    if cheapest[rest + gain].is_none_or(|found| total < found) {
                        cheapest[rest + gain] = Some(total);
                        from_class[rest + gain] = Some(index);
                    }
                }
            }
            taken.push(from_class);
        }
        let gains = classes.iter().map(|class| class.iter().map(|item| item.gain).collect()).collect();
        Self { cheapest, taken, gains }
    }

    /// Returns the largest gain within a budget.
    pub fn best(&self, budget: u64) -> usize {
        let within = |cost: &Option<u64>| cost.is_some_and(|cost| cost <= budget);
        self.cheapest.iter().rposition(within).unwrap_or_default()
    }

    /// Returns the budgets at which the largest gain rises, as gain and cost, ascending, from gain 0.
    pub fn frontier(&self) -> Vec<(usize, u64)> {
        let mut found: Vec<(usize, u64)> = Vec::new();
        for (gain, cost) in self.cheapest.iter().enumerate().rev() {
            if let Some(cost) = cost.filter(|cost| found.last().is_none_or(|(_, least)| cost < least)) {
                found.push((gain, cost));
            }
        }
        found.reverse();
        found
    }

    /// Returns the index of the item that is taken from each class, for the largest gain within a budget at the smallest cost.
    pub fn choice(&self, budget: u64) -> Vec<Option<usize>> {
        let mut gain = self.best(budget);
        let mut chosen = vec![None; self.taken.len()];
        for class in (0..self.taken.len()).rev() {
            // A gain beyond those of the classes so far is not in the table of an earlier class.
            let index = self.taken[class].get(gain).copied().flatten();
            if let Some(index) = index {
                gain -= self.gains[class][index];
                chosen[class] = Some(index);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Gain and cost of a choice.
    fn sum(classes: &[Vec<Item>], choice: &[Option<usize>]) -> (usize, u64) {
        let items = classes.iter().zip(choice).filter_map(|(class, index)| index.map(|index| class[index]));
        items.fold((0, 0), |(gain, cost), item| (gain + item.gain, cost + item.cost))
    }

    /// Every choice of at most one item of each class.
    fn choices(classes: &[Vec<Item>]) -> Vec<Vec<Option<usize>>> {
        let Some((first, rest)) = classes.split_first() else { return vec![Vec::new()] };
        let rest = choices(rest);
        let of_first = (0..first.len()).map(Some).chain([None]);
        of_first.flat_map(|index| rest.iter().map(move |rest| [&[index], &rest[..]].concat())).collect()
    }

    #[test]
    fn it_equals_brute_force_at_every_budget() {
        let mut generator = ChaCha8Rng::seed_from_u64(23);
        for case in 0..400 {
            let most = if case % 2 == 0 { 1 } else { 3 };
            let count = generator.random_range(0..6);
            let classes: Vec<Vec<Item>> = (0..count)
                .map(|_| {
                    let items = generator.random_range(0..4);
                    let mut item = || Item {
                        gain: generator.random_range(1..=most),
                        cost: generator.random_range(0..12),
                    };
                    (0..items).map(|_| item()).collect()
                })
                .collect();
            let knapsack = Knapsack::new(&classes);
            let all: Vec<(usize, u64)> =
                choices(&classes).iter().map(|choice| sum(&classes, choice)).collect();
            let frontier = knapsack.frontier();
            for budget in 0..=40 {
                let feasible = all.iter().filter(|(_, cost)| *cost <= budget);
                let best = feasible.clone().map(|(gain, _)| *gain).max().unwrap();
                let least = feasible.filter(|(gain, _)| *gain == best).map(|(_, cost)| *cost).min().unwrap();
                assert_eq!(knapsack.best(budget), best, "case {case}, budget {budget}: {classes:?}");
                assert_eq!(sum(&classes, &knapsack.choice(budget)), (best, least), "case {case}");
                let on_frontier = frontier.iter().rev().find(|(_, cost)| *cost <= budget);
                assert_eq!(on_frontier, Some(&(best, least)), "case {case}, budget {budget}");
            }
        }
    }

    #[test]
    fn no_feasible_choice_of_many_classes_is_better() {
        let mut generator = ChaCha8Rng::seed_from_u64(6);
        let mut item = || Item { gain: generator.random_range(1..3), cost: generator.random_range(1..200) };
        let classes: Vec<Vec<Item>> = (0..60).map(|_| (0..8).map(|_| item()).collect()).collect();
        let knapsack = Knapsack::new(&classes);
        for _ in 0..2000 {
            let share = generator.random_range(0.0..1.0);
            let mut choice = |class: &Vec<Item>| {
                generator.random_bool(share).then(|| generator.random_range(0..class.len()))
            };
            let choice: Vec<Option<usize>> = classes.iter().map(&mut choice).collect();
            let (gain, cost) = sum(&classes, &choice);
            assert!(knapsack.best(cost) >= gain);
        }
    }
}
