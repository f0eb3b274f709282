// Several client processes of several threads each, under load, and the ledger of what they see.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/crash/ledger.h"
#include "tests/crash/load.h"
#include "tests/crash/process.h"
#include "tests/crash/sidecar.h"

namespace nacelle::crash {

class Crowd {
 public:
  // One client per load; its name is given here. The sidecar is up, and nobody disturbs it yet.
  Crowd(Sidecar& sidecar, std::vector<Load> loads, std::size_t threads, std::uint64_t seed,
        const Namespaces& namespaces = {});

  [[nodiscard]] std::size_t size() const { return clients_.size(); }
  Process& process(std::size_t client) { return clients_[client].process; }
  // How the sidecar knows the client: another name for each of its lives.
  [[nodiscard]] const std::string& name(std::size_t client) const { return clients_[client].name; }
  Ledger& ledger() { return ledger_; }

  void start(std::size_t client);
  void start_all();
  // SIGKILL; when it was dead.
  base::Nanos kill(std::size_t client);
  // Tells all to stop, and waits until they have. False when one leaves with an error.
  bool stop_all();

  // Remembers how many answers each thread has.
  void mark_progress();
  // Whether each thread of the client has `more` answers than then (or than when it was started).
  [[nodiscard]] bool progressed(std::size_t client, std::uint64_t more = 1) const;
  [[nodiscard]] bool all_progressed(std::uint64_t more = 1) const;
  // Whether any thread, or each thread, of the client waits for an answer.
  [[nodiscard]] bool anyone_waits(std::size_t client) const;
  [[nodiscard]] bool everyone_waits(std::size_t client) const;

 private:
  struct Client {
    Load load;
    std::string name;
    Process process;
  };
  [[nodiscard]] std::size_t book(std::size_t client, std::size_t thread) const {
    return client * threads_ + thread;
  }

  std::vector<Client> clients_;
  std::size_t threads_;
  Namespaces namespaces_;
  Ledger ledger_;
  std::vector<std::uint64_t> marks_;  // answers, by book
  std::uint64_t lives_ = 0;
};

}  // namespace nacelle::crash
