// serve_load: the open-loop load generator of bench/serve.py and of the end-to-end tests. Forks the
// processes, starts them at one moment, and makes one report of what they leave in shared memory.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/serve/account.h"
#include "bench/serve/client.h"
#include "bench/serve/options.h"
#include "bench/serve/schedule.h"
#include "bench/serve/target.h"
#include "sidecar/base/file.h"

namespace nacelle::bench::serve {
namespace {

using base::Code;
using base::Error;
using base::Nanos;
using base::Result;

constexpr Nanos kLead = 20 * base::kMillisecond;  // from "go" to the start
constexpr Nanos kNap = 5 * base::kMillisecond;    // between looks at a word, before the load
constexpr std::size_t kTextsMax = 100'000;

void nap(Nanos time) {
  const timespec wanted{.tv_sec = time / base::kSecond, .tv_nsec = time % base::kSecond};
  nanosleep(&wanted, nullptr);
}

// One process' words to the others. Lies in memory that all of them share.
struct Seat {
  std::atomic<bool> ready{false};
  Nanos cpu = 0;             // that the load took
  char complaint[256] = {};  // why it could not begin, or why a request failed
};

struct Table {
  std::atomic<Nanos> start{0};  // 0: not yet
  Seat seats[kProcessesMax];
};

// Zeroed memory that forked processes share; for the life of the program.
Result<void*> share(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{Code::kUnavailable, "cannot map " + std::to_string(size) + " bytes"};
  }
  return memory;
}

Nanos cpu_ns() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return time.tv_sec * base::kSecond + time.tv_usec * base::kMicrosecond;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

Result<std::vector<std::string>> read_texts(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> texts;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) texts.push_back(line);
  }
  if (texts.empty() || texts.size() > kTextsMax) {
    return Error{Code::kNotFound, path + ": 1 to 100000 lines are wanted"};
  }
  return texts;
}

// Rows of `path`, as many as there are texts: raw floats.
Result<std::vector<std::vector<float>>> read_vectors(const std::string& path, std::size_t texts) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.empty() || bytes.size() % (texts * sizeof(float)) != 0) {
    return Error{Code::kInvalid, path + ": a row for each text is wanted"};
  }
  const std::size_t row = bytes.size() / texts;
  std::vector<std::vector<float>> vectors(texts, std::vector<float>(row / sizeof(float)));
  for (std::size_t i = 0; i < texts; ++i) {
    std::memcpy(vectors[i].data(), bytes.data() + i * row, row);
  }
  return vectors;
}

// Every so-many-th of them, beginning with one.
template <typename T>
std::vector<T> part_of(std::vector<T> all, const Part& part) {
  std::vector<T> kept;
  for (std::size_t i = part.index; i < all.size(); i += part.count) {
    kept.push_back(std::move(all[i]));
  }
  return kept;
}

class Crowd {
 public:
  Crowd(const Load& load, const Question& question, bool http)
      : load_(load), question_(question), http_(http) {}
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd() {
    for (const pid_t child : children_) ::kill(child, SIGKILL);
    while (!children_.empty()) wait_for_one();
  }

  // Returns when every process has its connections.
  base::Status assemble() {
    const Result<void*> table = share(sizeof(Table));
    if (!table) return table.error();
    table_ = new (*table) Table;
    std::size_t records = 0;
    for (std::uint32_t i = 0; i < load_.processes; ++i) {
      texts_.push_back(texts_of(load_, i, question_.texts.size()));
      auto schedule = make_schedule(load_, i, texts_.back());
      if (!schedule) return schedule.error();
      first_.push_back(records);
      records += load_.pattern == Pattern::kClosed ? closed_room() : schedule->size();
      schedules_.push_back(*std::move(schedule));
    }
    first_.push_back(records);
    const Result<void*> memory = share(std::max<std::size_t>(records, 1) * sizeof(Record));
    if (!memory) return memory.error();
    records_ = {static_cast<Record*>(*memory), records};
    // The schedule, before there is anybody who could die.
    for (std::uint32_t i = 0; i < load_.processes; ++i) {
      write_down(schedules_[i], records_.subspan(first_[i]));
    }
    for (std::uint32_t i = 0; i < load_.processes; ++i) {
      if (base::Status forked = fork_one(i); !forked) return forked;
    }
    for (std::uint32_t i = 0; i < load_.processes; ++i) {
      while (!table_->seats[i].ready.load(std::memory_order_acquire)) {
        if (::waitpid(children_[i], nullptr, WNOHANG) == children_[i]) {
          children_.erase(children_.begin() + i);
          return Error{Code::kUnavailable, said(i)};
        }
        nap(kNap);
      }
    }
    return base::ok();
  }

  // The whole load; begins at `start`.
  Result<nlohmann::json> run(Nanos start) {
    table_->start.store(start, std::memory_order_release);
    std::uint32_t died = 0;
    while (!children_.empty()) died += wait_for_one() ? 0U : 1U;
    const Nanos took = base::now_ns() - start;
    Nanos cpu = 0;
    std::string complaint;
    for (std::uint32_t i = 0; i < load_.processes; ++i) {
      cpu += table_->seats[i].cpu;
      if (complaint.empty()) complaint = said(i);
    }
    if (is_full()) {
      return Error{Code::kTooLarge,
                   "more requests were answered than there is room for: ask for a "
                   "shorter time"};
    }
    nlohmann::json json = report(load_, records_);
    json["generator"] = {{"cpu_s", static_cast<double>(cpu) / 1e9},
                         {"wall_s", static_cast<double>(took) / 1e9},
                         {"processes", load_.processes},
                         {"connections", load_.connections * load_.processes},
                         {"died", died}};
    json["complaint"] = complaint;
    return json;
  }

 private:
  // Of a process.
  [[nodiscard]] std::size_t closed_room() const {
    const double wanted =
        static_cast<double>(load_.duration()) / 1e9 * double{kClosedRecordsPerSecond};
    const std::uint64_t most = std::min(static_cast<std::uint64_t>(wanted), kRecordsMax);
    return 1 + most / load_.processes;
  }
  // Whether a process of a closed load has stopped for lack of room.
  [[nodiscard]] bool is_full() const {
    if (load_.pattern != Pattern::kClosed) return false;
    return std::any_of(first_.begin() + 1, first_.end(), [this](std::size_t end) {
      return records_[end - 1].outcome != Outcome::kUnused;
    });
  }
  [[nodiscard]] std::string said(std::uint32_t process) const {
    const char* words = table_->seats[process].complaint;
    return {words, ::strnlen(words, sizeof(Seat::complaint))};
  }

  base::Status fork_one(std::uint32_t index) {
    const pid_t child = ::fork();
    if (child < 0) return Error{Code::kUnavailable, "cannot fork: " + base::errno_text(errno)};
    if (child > 0) {
      children_.push_back(child);
      return base::ok();
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_TIMERSLACK, 1UL);
    const bool good = be(index);
    std::fflush(nullptr);
    ::_exit(good ? 0 : 1);
  }

  // A child's life.
  bool be(std::uint32_t index) {
    Seat& seat = table_->seats[index];
    const auto complain = [&](const std::string& words) {
      words.copy(seat.complaint, sizeof seat.complaint - 1);
    };
    auto target = http_ ? connect_http(question_, load_.connections, index * load_.connections)
                        : connect_nacelle(question_, load_.connections);
    if (!target) {
      complain(target.error().message);
      return false;
    }
    // release: pairs with assemble(); the complaint is empty.
    seat.ready.store(true, std::memory_order_release);
    Nanos start = 0;
    while ((start = table_->start.load(std::memory_order_acquire)) == 0) nap(kNap);
    const Nanos before = cpu_ns();
    nap(std::max<Nanos>(start - base::now_ns(), 0));
    run_client(load_, schedules_[index], texts_[index], start, **target,
               records_.subspan(first_[index], first_[index + 1] - first_[index]));
    seat.cpu = cpu_ns() - before;
    complain((*target)->complaint());
    return true;
  }

  // True when it ended well.
  bool wait_for_one() {
    int status = 0;
    const pid_t child = ::wait(&status);
    if (child < 0) {
      children_.clear();
      return true;
    }
    std::erase(children_, child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  const Load& load_;
  const Question& question_;
  const bool http_;
  Table* table_ = nullptr;
  std::vector<std::vector<std::uint32_t>> texts_;  // by process
  std::vector<std::vector<Arrival>> schedules_;    // by process
  std::vector<std::size_t> first_;                 // [processes + 1] of each process' records
  std::span<Record> records_;
  std::vector<pid_t> children_;
};

Result<nlohmann::json> run(const Options& options) {
  Question question{options.sockets, options.service, options.name, {}, {}};
  auto texts = read_texts(options.texts);
  if (!texts) return texts.error();
  if (!options.expected.empty()) {
    auto vectors = read_vectors(options.expected, texts->size());
    if (!vectors) return vectors.error();
    question.vectors = part_of(*std::move(vectors), options.part);
  }
  question.texts = part_of(*std::move(texts), options.part);
  if (question.texts.empty()) return Error{Code::kInvalid, "there are fewer texts than parts"};
  if (!options.http && question.vectors.empty()) {
    if (base::Status asked = ask_alone(question); !asked) return asked.error();
  }
  Crowd crowd(options.load, question, options.http);
  if (base::Status there = crowd.assemble(); !there) return there.error();
  std::cout << "ready" << std::endl;
  std::string line;
  std::getline(std::cin, line);
  std::istringstream words(line);
  std::string go;
  Nanos start = 0;
  words >> go >> start;
  if (go != "go") return Error{Code::kInvalid, "\"go\" was expected"};
  return crowd.run(words ? start : base::now_ns() + kLead);
}

}  // namespace
}  // namespace nacelle::bench::serve

int main(int argc, char** argv) {
  namespace serve = nacelle::bench::serve;
  const auto options = serve::parse_options({argv + 1, argv + argc});
  if (!options) {
    std::fprintf(stderr, "serve_load: %s\n%s", options.error().message.c_str(), serve::kUsage);
    return 2;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGPIPE, SIG_IGN);
  const auto report = serve::run(*options);
  if (!report) {
    std::cout << "error " << report.error().message << std::endl;
    return 1;
  }
  std::cout << "ok " << report->dump() << std::endl;
  return 0;
}
