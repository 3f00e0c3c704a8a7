//! Assignments of columns to rows, for finding a permuted order. Pure.

/// Finds a permutation from strengths of association, `strength[row][column]`. Returns the column of each row, where every row has
/// one that is stronger than every other by `factor` and no two rows share a column; `None` otherwise.
pub fn clear_order(strength: &[Vec<f64>], factor: f64) -> Option<Vec<usize>> {
    let mut taken = vec![false; strength.first()?.len()];
    let mut order = Vec::with_capacity(strength.len());
    for row in strength {
        let best = (0..row.len()).max_by(|one, other| row[*one].total_cmp(&row[*other]))?;
        let next = (0..row.len()).filter(|other| *other != best).map(|other| row[other]).fold(0.0, f64::max);
        // Written so that NaN gives `None`.
        let is_clear = row[best] > 0.0 && row[best] >= factor * next;
        if !is_clear || std::mem::replace(&mut taken[best], true) {
            return None;
        }
        order.push(best);
    }
    Some(order)
}

/// Returns the assignment of columns to rows of the least total cost, by the Hungarian method with potentials (Kuhn 1955; Munkres
/// 1957), for a square matrix of finite costs.
pub fn cheapest(cost: &[Vec<f64>]) -> Vec<usize> {
    let count = cost.len();
    // One-based, as in the usual formulation: column 0 is the start of an augmenting path.
    let (mut by_row, mut by_column) = (vec![0.0; count + 1], vec![0.0; count + 1]);
    let (mut row_of, mut way) = (vec![0; count + 1], vec![0; count + 1]);
    for row in 1..=count {
        row_of[0] = row;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; count + 1];
        let mut used = vec![false; count + 1];
        loop {
            used[column] = true;
            let (from, mut delta, mut next) = (row_of[column], f64::INFINITY, 0);
            for other in 1..=count {
                if used[other] {
                    continue;
                }
                let reduced = cost[from - 1][other - 1] - by_row[from] - by_column[other];
                if reduced < least[other] {
                    (least[other], way[other]) = (reduced, column);
                }
                if least[other] < delta {
                    (delta, next) = (least[other], other);
                }
            }
            for other in 0..=count {
                if used[other] {
                    by_row[row_of[other]] += delta;
                    by_column[other] -= delta;
                } else {
                    least[other] -= delta;
                }
            }
            column = next;
            if row_of[column] == 0 {
                break;
            }
        }
        while column != 0 {
            let before = way[column];
            row_of[column] = row_of[before];
            column = before;
        }
    }
    let mut order = vec![0; count];
    (1..=count).for_each(|column| order[row_of[column] - 1] = column - 1);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_found_only_where_every_row_has_its_own_column() {
        let turned = [vec![0.0, 0.1, 1.0], vec![0.9, 0.2, 0.0], vec![0.1, 0.8, 0.2]];
        assert_eq!(clear_order(&turned, 2.0), Some(vec![2, 0, 1]));
        assert_eq!(clear_order(&turned, 9.0), None, "not clear enough");
        assert_eq!(clear_order(&[vec![1.0, 0.1], vec![1.0, 0.2]], 2.0), None, "both take the first");
        assert_eq!(clear_order(&[vec![f64::NAN, 0.1], vec![0.0, 0.2]], 2.0), None);
        assert_eq!(clear_order(&[vec![0.0, 0.0]], 2.0), None, "nothing goes with it");
        assert_eq!(clear_order(&[], 2.0), None);
    }

    #[test]
    fn the_cheapest_assignment_equals_that_of_exhaustive_search() {
        fn least(cost: &[Vec<f64>], row: usize, taken: &mut Vec<usize>) -> f64 {
            if row == cost.len() {
                return 0.0;
            }
            let mut best = f64::INFINITY;
            for column in 0..cost.len() {
                if !taken.contains(&column) {
                    taken.push(column);
                    best = best.min(cost[row][column] + least(cost, row + 1, taken));
                    taken.pop();
                }
            }
            best
        }
        for seed in 0..50_u64 {
            let number = |row: u64, column: u64| {
                let mixed = (seed * 977 + row * 31 + column + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (mixed >> 40) as f64 / 1e6
            };
            let cost: Vec<Vec<f64>> =
                (0..5).map(|row| (0..5).map(|column| number(row, column)).collect()).collect();
            let order = cheapest(&cost);
            let found: f64 = order.iter().enumerate().map(|(row, column)| cost[row][*column]).sum();
            assert!((found - least(&cost, 0, &mut Vec::new())).abs() < 1e-9, "{seed}");
        }
    }
}
