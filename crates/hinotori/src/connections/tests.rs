//! Seats, and batches that several workers take from.

use std::{cell::Cell, sync::mpsc, thread, time::Instant};

use actix_web::rt::{System, task::yield_now};

use super::*;

/// Closes when it is told to, and says so.
struct Client {
    is_open: Cell<bool>,
    closed: mpsc::Sender<()>,
}

impl Member for Client {
    fn is_open(&self) -> bool {
        self.is_open.get()
    }

    fn drain(&self) {
        self.is_open.set(false);
        self.closed.send(()).unwrap();
    }

    fn look(&self, _: Instant) {}
}

#[test]
fn a_connection_is_counted_while_its_seat_lives_and_there_are_no_more_than_may_be() {
    let connections = Arc::new(Connections::new(2));
    let seats = [connections.seat(), connections.seat()];
    assert!(seats.iter().all(Option::is_some) && connections.seat().is_none());
    assert_eq!(connections.count(), 2);
    drop(seats);
    assert_eq!(connections.count(), 0);
    assert!(connections.seat().is_some());
}

#[test]
fn a_batch_closes_so_many_connections_of_all_workers_together() {
    let connections = Arc::new(Connections::new(usize::MAX));
    let ((ready, is_ready), (closed, is_closed)) = (mpsc::channel(), mpsc::channel());
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (connections, ready, closed) = (connections.clone(), ready.clone(), closed.clone());
            thread::spawn(move || {
                System::new().block_on(async {
                    let clients: Vec<_> = (0..4)
                        .map(|_| Rc::new(Client { is_open: Cell::new(true), closed: closed.clone() }))
                        .collect();
                    for client in &clients {
                        connections.add(SubscriberKey::new(), client.clone());
                    }
                    ready.send(()).unwrap();
                    while clients.iter().any(|client| client.is_open.get()) {
                        yield_now().await;
                    }
                });
            })
        })
        .collect();
    for _ in &workers {
        is_ready.recv().unwrap();
    }
    let batch = connections.drain(5);
    (0..5).for_each(|_| is_closed.recv().unwrap());
    assert!(batch.is_done() && is_closed.try_recv().is_err());
    let rest = connections.drain(usize::MAX);
    (0..7).for_each(|_| is_closed.recv().unwrap());
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(rest.closed(), 7);
}

#[test]
fn a_later_runtime_of_a_thread_is_told_to_close_too() {
    let connections = Connections::new(usize::MAX);
    let (closed, _is_closed) = mpsc::channel();
    for _ in 0..2 {
        System::new().block_on(async {
            let client = Rc::new(Client { is_open: Cell::new(true), closed: closed.clone() });
            connections.add(SubscriberKey::new(), client.clone());
            connections.drain(1);
            while client.is_open.get() {
                yield_now().await;
            }
        });
        assert!(connections.is_empty());
    }
}
