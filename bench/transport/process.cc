// A process of bench/transport.py: the server of a way, or a client of one that does what it is
// told.
//
// usage: PROGRAM serve WAY FOLDER     prints "ready AT" once clients may come; ends when killed
//        PROGRAM call WAY AT          reads commands, a line each, and answers each with a line:
//                                     "ok" and perhaps JSON, or "error" and words
//
//   pin CPU                                 this process runs on that CPU only
//   verify REPLY_SIZE COUNT                 every byte of so many replies
//   run REPLY_SIZE MS START_NS INTERVAL_NS  Load of measure.h; the latencies
//   one_way SIZE MS                         messages, bytes and nanoseconds
//   more COUNT                              holds so many further connections, idle
//   rescued                                 how many sleeps were ended by their time-out
#include <sched.h>
#include <sys/prctl.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string_view>
#include <vector>

#include "bench/transport/measure.h"
#include "bench/transport/way.h"
#include "sidecar/base/file.h"

namespace nacelle::bench {

base::Error cannot(const std::string& what) {
  return base::Error{base::Code::kUnavailable, "cannot " + what + ": " + base::errno_text(errno)};
}

namespace {

using base::Code;
using base::Error;
using base::Result;

constexpr base::Nanos kDurationMax = 600 * base::kSecond;
constexpr unsigned kConnectionsMax = 1000;

class Client {
 public:
  Client(const Way& way, std::string at, std::unique_ptr<Caller> caller)
      : way_(way), at_(std::move(at)), caller_(std::move(caller)) {}

  Result<std::string> obey(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "pin") return pin(words);
    if (command == "verify") {
      const auto size = static_cast<std::uint32_t>(number(words));
      const auto count = static_cast<unsigned>(number(words));
      return said(verify(*caller_, size, count));
    }
    if (command == "run") return run(words);
    if (command == "one_way") return one_way(words);
    if (command == "more") return more(words);
    if (command == "rescued") return std::to_string(caller_->rescued());
    return Error{Code::kInvalid, "no command \"" + command + "\""};
  }

 private:
  static std::int64_t number(std::istringstream& words) {
    std::int64_t value = 0;
    words >> value;
    return words ? value : 0;
  }

  static Result<std::string> said(const base::Status& status) {
    if (!status) return status.error();
    return std::string();
  }

  static Result<std::string> pin(std::istringstream& words) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<unsigned>(number(words)) % CPU_SETSIZE, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) return cannot("pin to this CPU");
    return std::string();
  }

  Result<std::string> run(std::istringstream& words) {
    Load load;
    load.reply_size = static_cast<std::uint32_t>(number(words));
    load.duration = number(words) * base::kMillisecond;
    load.start_at = number(words);
    load.interval = number(words);
    if (load.duration <= 0 || load.duration > kDurationMax || load.interval < 0) {
      return Error{Code::kInvalid, "run: a bad duration or interval"};
    }
    const Result<Latencies> latencies = measure(*caller_, load);
    if (!latencies) return latencies.error();
    return to_json(*latencies);
  }

  Result<std::string> one_way(std::istringstream& words) {
    const auto size = static_cast<std::uint32_t>(number(words));
    const base::Nanos duration = number(words) * base::kMillisecond;
    if (size == 0 || size > kReplyMax || duration <= 0 || duration > kDurationMax) {
      return Error{Code::kInvalid, "one_way: a bad size or duration"};
    }
    const Result<OneWay> sent = caller_->one_way(size, duration);
    if (!sent) return sent.error();
    return "{\"messages\": " + std::to_string(sent->messages) +
           ", \"bytes\": " + std::to_string(sent->bytes) +
           ", \"ns\": " + std::to_string(sent->duration) + "}";
  }

  Result<std::string> more(std::istringstream& words) {
    const auto count = static_cast<std::uint64_t>(number(words));
    if (count > kConnectionsMax) return Error{Code::kInvalid, "more: too many"};
    for (std::uint64_t i = 0; i < count; ++i) {
      Result<std::unique_ptr<Caller>> made = way_.connect(at_);
      if (!made) return made.error();
      idle_.push_back(*std::move(made));
      if (base::Status used = verify(*idle_.back(), kRequestSize, 1); !used) return used.error();
    }
    return std::string();
  }

  const Way& way_;
  const std::string at_;
  std::unique_ptr<Caller> caller_;
  std::vector<std::unique_ptr<Caller>> idle_;
};

int complain(const Error& error) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.message.c_str());
  return 1;
}

int call(const Way& way, const std::string& at) {
  Result<std::unique_ptr<Caller>> caller = way.connect(at);
  if (!caller) return complain(caller.error());
  Client client(way, at, *std::move(caller));
  for (std::string line; std::getline(std::cin, line);) {
    const Result<std::string> answer = client.obey(line);
    std::cout << (answer ? "ok " + *answer : "error " + answer.error().message) << std::endl;
  }
  return 0;
}

int serve(const Way& way, const std::string& folder) {
  if (way.serve == nullptr) return complain({Code::kInvalid, "another program serves this way"});
  const auto ready = [](const std::string& at) { std::cout << "ready " << at << std::endl; };
  const base::Status served = way.serve(folder, ready);
  return served ? 0 : complain(served.error());
}

}  // namespace
}  // namespace nacelle::bench

int main(int argc, char** argv) {
  namespace bench = nacelle::bench;
  if (argc == 4) {
    // No server outlives the benchmark, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::signal(SIGPIPE, SIG_IGN);
    const std::string_view role = argv[1];
    for (const bench::Way& way : bench::ways()) {
      if (std::string_view(way.name) != argv[2]) continue;
      if (role == "serve") return bench::serve(way, argv[3]);
      if (role == "call") return bench::call(way, argv[3]);
    }
  }
  std::fprintf(stderr, "usage: %s serve|call WAY FOLDER|AT; ways:", argv[0]);
  for (const bench::Way& way : bench::ways()) std::fprintf(stderr, " %s", way.name);
  std::fprintf(stderr, "\n");
  return 2;
}
