//! Tests of the deferred list.

use crate::peer::deferred_list::{Deferrable, DeferredList};
use std::sync::Barrier;
use std::thread;

/// An item with a weight, and the sum of the weights that were lost after it.
#[derive(Clone, Debug, PartialEq)]
struct Weighted {
    weight: usize,
    lost: usize,
}

impl Deferrable for Weighted {
    fn weight(&self) -> usize {
        self.weight
    }

    fn record_loss(&mut self, lost: &Self) {
        self.lost += lost.weight + lost.lost;
    }
}

fn weighing(weight: usize) -> Weighted {
    Weighted { weight, lost: 0 }
}

/// An item of weight 1 for a list without a limit: its sender, and its number.
impl Deferrable for (usize, usize) {
    fn weight(&self) -> usize {
        1
    }

    fn record_loss(&mut self, lost: &Self) {
        panic!("the list has no limit but dropped {lost:?}");
    }
}

#[test]
fn items_are_taken_once_and_in_order() {
    let list = DeferredList::new();
    assert!(list.is_empty() && list.take().is_empty());
    for number in 0..100_000 {
        list.push(&(0, number), usize::MAX);
    }
    assert!(list.take().into_iter().map(|(_, number)| number).eq(0..100_000));
    assert!(list.is_empty());
}

#[test]
fn long_list_is_dropped_without_recursion() {
    let list = DeferredList::new();
    for number in 0..100_000 {
        list.push(&(0, number), usize::MAX);
    }
    drop(list);
}

#[test]
fn weight_is_bounded_and_a_loss_is_recorded_in_the_newest_item() {
    let list = DeferredList::new();
    list.push(&weighing(50), 10);
    list.push(&weighing(1), 10);
    let heavy = Weighted { weight: 50, lost: 1 };
    assert_eq!(list.take(), [heavy], "an empty list accepts an item of any weight");
    for weight in [9, 1, 2, 3] {
        list.push(&weighing(weight), 10);
    }
    assert_eq!(list.take(), [weighing(9), Weighted { weight: 1, lost: 5 }]);
}

#[test]
fn items_of_concurrent_senders_are_taken_once_and_in_each_senders_order() {
    const SENDERS: usize = 4;
    const ITEMS: usize = 5_000;
    let (list, start) = (DeferredList::new(), Barrier::new(SENDERS + 1));
    let mut taken = [0; SENDERS];
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (list, start) = (&list, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..ITEMS {
                    list.push(&(sender, number), usize::MAX);
                }
            });
        }
        start.wait();
        while taken.iter().sum::<usize>() < SENDERS * ITEMS {
            for (sender, number) in list.take() {
                assert_eq!(number, taken[sender]);
                taken[sender] += 1;
            }
        }
    });
    assert!(list.is_empty());
}
