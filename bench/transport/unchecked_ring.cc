// Shared memory with nothing around it: what our transport would cost without its checks, and the
// bare waits and copies that bound it. For two processes that trust each other blindly.
//
//   ring     two regions, a sequence number in the slot, both sides spin
//   futex    the same, and both sides sleep at once
//   stream   chunks of 64 KiB in one direction, copied in by one side and out by the other
//
// The ring has one slot, which is where a caller that waits for each answer ends up in ours, too.
// More slots, with and without a prefetch of the next one, were slower: see
// docs/benchmarks/transport.md.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <vector>

#include "bench/transport/plain.h"
#include "shm/wait.h"
#include "sidecar/base/fd.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Fd;

// Chunks of a stream under way: few enough to stay in a core's second-level cache.
constexpr std::size_t kChunks = 8;
constexpr base::Nanos kStuck = 10 * base::kSecond;

struct Requests {                                   // written by the client
  alignas(128) std::atomic<std::uint32_t> word{0};  // the request's number: what both sides watch
  std::byte payload[kRequestSize];
  alignas(128) std::atomic<std::uint64_t> chunks{0};  // written by the stream
  alignas(4096) std::byte arena[kChunks][kReplyMax];
};
struct Replies {  // written by the server
  alignas(128) std::atomic<std::uint32_t> word{0};
  std::uint32_t size = 0;
  alignas(128) std::atomic<std::uint64_t> chunks{0};  // read by the stream's other end
  std::atomic<std::uint64_t> wrong{0};                // of those
  alignas(4096) std::byte arena[kReplyMax];
};

template <typename Side>
Side* map(int fd) {
  void* memory =
      ::mmap(nullptr, sizeof(Side), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<Side*>(memory);
}

// Both regions, for as long as the process lives.
struct Memory {
  Requests* requests = nullptr;
  Replies* replies = nullptr;
};

using Loop = void (*)(const Memory&);
base::Status serve_memory(const Ready& ready, Loop loop) {
  Memory memory;
  const Fd a(::memfd_create("bench-requests", MFD_CLOEXEC));
  const Fd b(::memfd_create("bench-replies", MFD_CLOEXEC));
  if (!a || !b || ::ftruncate(a.get(), sizeof(Requests)) != 0 ||
      ::ftruncate(b.get(), sizeof(Replies)) != 0) {
    return cannot("create memory");
  }
  memory.requests = map<Requests>(a.get());
  memory.replies = map<Replies>(b.get());
  if (memory.requests == nullptr || memory.replies == nullptr) return cannot("map memory");
  new (memory.requests) Requests;
  new (memory.replies) Replies;
  const std::string process = "/proc/" + std::to_string(::getpid()) + "/fd/";
  ready(process + std::to_string(a.get()) + ":" + process + std::to_string(b.get()));
  loop(memory);
  return base::ok();
}

base::Result<Memory> open_memory(const std::string& at) {
  const std::size_t colon = at.find(':');
  const Fd a(::open(at.substr(0, colon).c_str(), O_RDWR | O_CLOEXEC));
  const Fd b(::open(at.substr(colon + 1).c_str(), O_RDWR | O_CLOEXEC));
  if (!a || !b) return cannot("open the server's memory");
  const Memory memory{.requests = map<Requests>(a.get()), .replies = map<Replies>(b.get())};
  if (memory.requests == nullptr || memory.replies == nullptr) return cannot("map memory");
  return memory;
}

// Until the word has that value.
struct Spin {
  static void wait(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
    while (word.load(std::memory_order_acquire) != value) {
    }
  }
  static void wake(const std::atomic<std::uint32_t>& /*word*/) {}
};
struct Sleep {
  static void wait(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
    while (word.load(std::memory_order_acquire) != value) {
      shm::futex_wait(&word, value - 1, base::kSecond);
    }
  }
  static void wake(const std::atomic<std::uint32_t>& word) { shm::futex_wake(&word); }
};

template <typename Wait>
[[noreturn]] void serve_requests(const Memory& memory) {
  for (std::uint32_t turn = 1;; ++turn) {
    Wait::wait(memory.requests->word, turn);
    const std::byte* request = memory.requests->payload;
    const std::uint32_t size = wanted_size(request);
    make_reply(request, memory.replies->arena, size);
    memory.replies->size = size;
    memory.replies->word.store(turn, std::memory_order_release);
    Wait::wake(memory.replies->word);
  }
}

template <typename Wait>
class MemoryCaller : public Caller {
 public:
  explicit MemoryCaller(const Memory& memory) : memory_(memory) {}
  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    turn_ += 1;
    std::memcpy(memory_.requests->payload, request.data(), kRequestSize);
    memory_.requests->word.store(turn_, std::memory_order_release);
    Wait::wake(memory_.requests->word);
    Wait::wait(memory_.replies->word, turn_);
    std::memcpy(reply.data(), memory_.replies->arena, reply.size());
    return base::ok();
  }

 private:
  Memory memory_;
  std::uint32_t turn_ = 0;
};

[[noreturn]] void read_stream(const Memory& memory) {
  std::vector<std::byte> copy(kReplyMax);
  for (std::uint64_t chunk = 0;; ++chunk) {
    while (memory.requests->chunks.load(std::memory_order_acquire) <= chunk) {
    }
    std::memcpy(copy.data(), memory.requests->arena[chunk % kChunks], kReplyMax);
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::memcpy(&first, copy.data(), sizeof first);
    std::memcpy(&last, &copy[kReplyMax - sizeof last], sizeof last);
    if (first != chunk || last != chunk) {
      memory.replies->wrong.fetch_add(1, std::memory_order_relaxed);
    }
    memory.replies->chunks.store(chunk + 1, std::memory_order_release);
  }
}

class StreamWriter : public Caller {
 public:
  explicit StreamWriter(const Memory& memory) : memory_(memory) {}
  base::Status call(std::span<const std::byte> /*request*/,
                    std::span<std::byte> /*reply*/) override {
    return Error{Code::kInvalid, "a stream does not answer"};
  }

  base::Result<OneWay> one_way(std::uint32_t size, base::Nanos duration) override {
    std::vector<std::byte> own(kReplyMax, std::byte{1});
    const base::Nanos begin = base::now_ns();
    const std::uint64_t before = chunk_;
    do {
      for (int i = 0; i < 64; ++i, ++chunk_) {
        std::memcpy(own.data(), &chunk_, sizeof chunk_);
        std::memcpy(&own[kReplyMax - sizeof chunk_], &chunk_, sizeof chunk_);
        if (!read_up_to(chunk_ < kChunks ? 0 : chunk_ - kChunks + 1)) {
          return Error{Code::kUnavailable, "the stream's reader does not read"};
        }
        std::memcpy(memory_.requests->arena[chunk_ % kChunks], own.data(), kReplyMax);
        memory_.requests->chunks.store(chunk_ + 1, std::memory_order_release);
      }
    } while (base::now_ns() - begin < duration);
    if (!read_up_to(chunk_)) return Error{Code::kUnavailable, "the stream's reader does not read"};
    OneWay sent;
    sent.duration = base::now_ns() - begin;
    sent.bytes = (chunk_ - before) * kReplyMax;
    sent.messages = sent.bytes / size;
    if (memory_.replies->wrong.load(std::memory_order_relaxed) != 0) {
      return Error{Code::kInternal, "other bytes arrived"};
    }
    return sent;
  }

 private:
  bool read_up_to(std::uint64_t chunk) const {
    for (std::uint64_t looks = 1; memory_.replies->chunks.load(std::memory_order_acquire) < chunk;
         ++looks) {
      if (looks % (1 << 20) == 0) {
        if (stuck_since_ == 0) stuck_since_ = base::now_ns();
        if (base::now_ns() - stuck_since_ > kStuck) return false;
      }
    }
    stuck_since_ = 0;
    return true;
  }

  Memory memory_;
  std::uint64_t chunk_ = 0;
  mutable base::Nanos stuck_since_ = 0;
};

template <typename Made>
base::Result<std::unique_ptr<Caller>> connect_memory(const std::string& at) {
  const base::Result<Memory> memory = open_memory(at);
  if (!memory) return memory.error();
  return std::unique_ptr<Caller>(std::make_unique<Made>(*memory));
}

}  // namespace

base::Status serve_ring(const std::string& /*folder*/, const Ready& ready) {
  return serve_memory(ready, serve_requests<Spin>);
}
base::Result<std::unique_ptr<Caller>> connect_ring(const std::string& at) {
  return connect_memory<MemoryCaller<Spin>>(at);
}
base::Status serve_futex(const std::string& /*folder*/, const Ready& ready) {
  return serve_memory(ready, serve_requests<Sleep>);
}
base::Result<std::unique_ptr<Caller>> connect_futex(const std::string& at) {
  return connect_memory<MemoryCaller<Sleep>>(at);
}
base::Status serve_stream(const std::string& /*folder*/, const Ready& ready) {
  return serve_memory(ready, read_stream);
}
base::Result<std::unique_ptr<Caller>> connect_stream(const std::string& at) {
  return connect_memory<StreamWriter>(at);
}

}  // namespace nacelle::bench
