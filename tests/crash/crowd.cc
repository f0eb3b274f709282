#include "tests/crash/crowd.h"

#include <utility>

namespace nacelle::crash {

Crowd::Crowd(Sidecar& sidecar, std::vector<Load> loads, std::size_t threads, std::uint64_t seed,
             const Namespaces& namespaces)
    : threads_(threads),
      namespaces_(namespaces),
      ledger_(loads.size() * threads, seed),
      marks_(loads.size() * threads, 0) {
  ledger_.expect_embeddings(embedding_digests(sidecar.socket()));
  for (Load& load : loads) {
    load.socket = sidecar.socket();
    load.seed = seed;
    clients_.push_back({std::move(load), {}, {}});
  }
}

void Crowd::start(std::size_t client) {
  Client& self = clients_[client];
  self.name = "load-" + std::to_string(++lives_);
  self.load.name = self.name;
  std::vector<Book*> books;
  for (std::size_t thread = 0; thread < threads_; ++thread) {
    books.push_back(&ledger_.open(book(client, thread)));
    marks_[book(client, thread)] = 0;
  }
  self.process = Process::fork(
      [load = self.load, books] { return run_load(load, books, shared_orders()); }, namespaces_);
}

void Crowd::start_all() {
  shared_orders().stop = 0;
  for (std::size_t client = 0; client < size(); ++client) start(client);
}

base::Nanos Crowd::kill(std::size_t client) {
  const base::Nanos died = clients_[client].process.kill();
  for (std::size_t thread = 0; thread < threads_; ++thread)
    ledger_.close(book(client, thread), true);
  return died;
}

bool Crowd::stop_all() {
  shared_orders().stop = 1;
  bool well = true;
  for (std::size_t client = 0; client < size(); ++client) {
    // A thread whose book is full waits for the ledger: keep it moving.
    Process& process = clients_[client].process;
    const bool left = eventually([&] {
      ledger_.audit_all();
      return process.ended();
    });
    if (left) {
      well = process.wait() == 0 && well;
    } else {
      process.kill();
      well = false;
    }
    for (std::size_t thread = 0; thread < threads_; ++thread) {
      ledger_.close(book(client, thread), false);
    }
  }
  return well;
}

void Crowd::mark_progress() {
  for (std::size_t i = 0; i < marks_.size(); ++i) marks_[i] = ledger_.book(i).answers.load();
}

bool Crowd::progressed(std::size_t client, std::uint64_t more) const {
  for (std::size_t thread = 0; thread < threads_; ++thread) {
    const std::size_t i = book(client, thread);
    if (ledger_.book(i).answers.load() < marks_[i] + more) return false;
  }
  return true;
}

bool Crowd::all_progressed(std::uint64_t more) const {
  for (std::size_t client = 0; client < size(); ++client) {
    if (!progressed(client, more)) return false;
  }
  return true;
}

bool Crowd::anyone_waits(std::size_t client) const {
  for (std::size_t thread = 0; thread < threads_; ++thread) {
    if (ledger_.book(book(client, thread)).waiting()) return true;
  }
  return false;
}

bool Crowd::everyone_waits(std::size_t client) const {
  for (std::size_t thread = 0; thread < threads_; ++thread) {
    if (!ledger_.book(book(client, thread)).waiting()) return false;
  }
  return true;
}

}  // namespace nacelle::crash
