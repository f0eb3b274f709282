// One store of the cache benchmark: fills it, verifies it, and times reads in forked processes.
//
//   cache_LIBRARY STORE AT ENTRIES
//
// Then a command a line, each answered with one that begins with "ok" or "error":
//
//   read PROCESSES MILLISECONDS WRITES_PER_SECOND
//     -> ok {"gets": .., "p50_ns": .., "p99_ns": .., "wrong": .., "missed": .., "puts": ..}
//
// A read is from the text to the value in the reader's memory: making the key is in it. Every value
// is compared, all of its bytes, outside of the timed part. With WRITES_PER_SECOND the parent puts
// other texts meanwhile.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <vector>

#include "bench/cache/store.h"
#include "sidecar/base/check.h"
#include "sidecar/base/time.h"

namespace nacelle::bench {
namespace {

using base::Nanos;

constexpr std::size_t kProcessesMax = 64;
constexpr std::size_t kTimesMax = 1 << 20;  // of one process; later ones take a random one's place

// What a reader leaves in shared memory.
struct Seat {
  std::atomic<bool> ready;
  std::uint64_t gets = 0;
  std::uint64_t wrong = 0;
  std::uint64_t missed = 0;
  std::size_t times = 0;
  std::uint32_t ns[kTimesMax];
};
struct Room {
  std::atomic<bool> go;
  std::atomic<bool> end;
  Seat seats[kProcessesMax];
};

// A clock that costs little beside a read of a few hundred nanoseconds.
std::uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(base::now_ns());
#endif
}

double ns_per_tick() {
  const Nanos begin = base::now_ns();
  const std::uint64_t first = ticks();
  while (base::now_ns() - begin < 50 * base::kMillisecond) {
  }
  return static_cast<double>(base::now_ns() - begin) / static_cast<double>(ticks() - first);
}

class Bench {
 public:
  Bench(std::unique_ptr<Store> store, std::uint64_t entries)
      : store_(std::move(store)), entries_(entries) {
    void* memory = ::mmap(nullptr, sizeof(Room), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    room_ = static_cast<Room*>(memory);
  }

  base::Status fill() {
    Value value;
    for (std::uint64_t i = 0; i < entries_; ++i) {
      make_value(i, value);
      if (base::Status done = store_->put(Text(i).view(), value); !done) return done;
    }
    // As many as there are, or a sample that would show a mistake.
    std::mt19937_64 random(1);
    for (std::uint64_t n = 0; n < std::min<std::uint64_t>(entries_, 20'000); ++n) {
      const std::uint64_t i = entries_ <= 20'000 ? n : random() % entries_;
      if (!store_->get(Text(i).view(), value) || !is_right(i, value)) {
        return base::Error{base::Code::kInternal, "entry " + std::to_string(i) + " is not right"};
      }
    }
    return base::ok();
  }

  std::string read(std::size_t processes, Nanos duration, std::uint64_t writes_per_second) {
    std::vector<pid_t> children;
    room_->go = room_->end = false;
    for (std::size_t n = 0; n < processes; ++n) {
      Seat& seat = room_->seats[n];
      seat.ready = false;
      seat.gets = seat.wrong = seat.missed = seat.times = 0;
      const pid_t child = ::fork();
      CHECK(child >= 0);
      if (child == 0) {
        if (base::Status opened = store_->reopen(); !opened) {
          std::cerr << opened.error().message << "\n";
          ::_exit(1);
        }
        be_reader(seat, n);
        ::_exit(0);
      }
      children.push_back(child);
    }
    for (std::size_t n = 0; n < processes; ++n) {
      while (!room_->seats[n].ready) {
        if (::waitpid(children[n], nullptr, WNOHANG) == children[n]) return {};
        ::usleep(100);
      }
    }
    room_->go = true;
    const std::uint64_t puts = write(duration, writes_per_second);
    room_->end = true;
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
    return report(processes, puts, duration);
  }

 private:
  static bool is_right(std::uint64_t i, const Value& value) {
    for (std::size_t at = 0; at < kValueSize; at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, &value[at], sizeof word);
      if (word != word_of(i, at)) return false;
    }
    return true;
  }

  void be_reader(Seat& seat, std::uint64_t number) {
    std::mt19937_64 random(number + 1);
    Value value{};
    const double per_tick = ns_per_tick();
    seat.ready = true;
    while (!room_->go) {
    }
    while (!room_->end) {
      const std::uint64_t i = random() % entries_;
      const Text text(i);
      const std::uint64_t begin = ticks();
      const bool there = store_->get(text.view(), value);
      const std::uint64_t took = ticks() - begin;
      ++seat.gets;
      if (!there) {
        ++seat.missed;
        continue;
      }
      if (!is_right(i, value)) ++seat.wrong;
      const std::size_t at = seat.times < kTimesMax ? seat.times++ : random() % kTimesMax;
      seat.ns[at] = static_cast<std::uint32_t>(std::min(static_cast<double>(took) * per_tick, 4e9));
    }
  }

  // Others' answers, over and over the same hundred, so that nothing that is read has to go.
  std::uint64_t write(Nanos duration, std::uint64_t per_second) {
    const Nanos begin = base::now_ns();
    std::uint64_t puts = 0;
    Value value;
    while (true) {
      const Nanos passed = base::now_ns() - begin;
      if (passed >= duration) return puts;
      if (per_second == 0) {
        ::usleep(1000);
        continue;
      }
      const auto due = static_cast<std::uint64_t>(static_cast<double>(passed) / 1e9 *
                                                  static_cast<double>(per_second));
      if (puts >= due) ::usleep(50);
      for (int n = 0; n < 64 && puts < due; ++n, ++puts) {
        const std::uint64_t i = entries_ + puts % 100;
        make_value(i, value);
        if (!store_->put(Text(i).view(), value)) return puts;
      }
    }
  }

  std::string report(std::size_t processes, std::uint64_t puts, Nanos duration) const {
    std::vector<std::uint32_t> all;
    nlohmann::json out = {{"gets", 0}, {"wrong", 0}, {"missed", 0}};
    for (std::size_t n = 0; n < processes; ++n) {
      const Seat& seat = room_->seats[n];
      all.insert(all.end(), seat.ns, seat.ns + seat.times);
      out["gets"] = out["gets"].get<std::uint64_t>() + seat.gets;
      out["wrong"] = out["wrong"].get<std::uint64_t>() + seat.wrong;
      out["missed"] = out["missed"].get<std::uint64_t>() + seat.missed;
    }
    if (all.empty()) return {};
    std::sort(all.begin(), all.end());
    out["p50_ns"] = all[all.size() / 2];
    out["p99_ns"] = all[all.size() * 99 / 100];
    out["puts_per_s"] = static_cast<double>(puts) / static_cast<double>(duration) * 1e9;
    return out.dump();
  }

  std::unique_ptr<Store> store_;
  std::uint64_t entries_;
  Room* room_ = nullptr;
};

int run(const std::string& name, const std::string& at, std::uint64_t entries) {
  for (const StoreKind& kind : stores()) {
    if (name != kind.name) continue;
    auto store = kind.open(at, entries);
    if (!store) {
      std::cout << "error " << store.error().message << std::endl;
      return 1;
    }
    Bench bench(*std::move(store), entries);
    if (base::Status filled = bench.fill(); !filled) {
      std::cout << "error " << filled.error().message << std::endl;
      return 1;
    }
    std::cout << "ok" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words(line);
      std::string verb;
      std::size_t processes = 0;
      Nanos ms = 0;
      std::uint64_t writes = 0;
      if (!(words >> verb >> processes >> ms >> writes) || verb != "read" || processes == 0 ||
          processes > kProcessesMax) {
        std::cout << "error not a command" << std::endl;
        continue;
      }
      const std::string report = bench.read(processes, ms * base::kMillisecond, writes);
      std::cout << (report.empty() ? "error nothing was read" : "ok " + report) << std::endl;
    }
    return 0;
  }
  std::cout << "error this program has no store " << name << std::endl;
  return 1;
}

}  // namespace
}  // namespace nacelle::bench

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: " << argv[0] << " STORE AT ENTRIES\n";
    return 2;
  }
  return nacelle::bench::run(argv[1], argv[2], std::strtoull(argv[3], nullptr, 10));
}
