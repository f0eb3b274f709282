#include "sidecar/config/fields.h"

namespace nacelle::config {
namespace {

constexpr std::string_view kDomains[] = {"uid", "pod"};
constexpr std::string_view kDurabilities[] = {"none", "interval", "always"};
constexpr std::string_view kReaches[] = {"loopback", "any"};
constexpr std::string_view kPrecisions[] = {"auto", "fp32", "bf16"};

}  // namespace

std::string Field::flag() const { return "--" + std::string(name); }

std::string Field::environment() const {
  std::string variable = "NACELLE_";
  for (const char c : name) {
    variable += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return variable;
}

std::vector<Field> fields(Config& c) {
  using I32 = Whole<std::int32_t>;
  using U32 = Whole<std::uint32_t>;
  using U64 = Whole<std::uint64_t>;
  constexpr std::uint64_t kKiB = 1ULL << 10;
  constexpr std::uint64_t kMiB = 1ULL << 20;
  constexpr std::uint64_t kGiB = 1ULL << 30;
  return {
      {"config", "", Path{&c.config, true},
       "The YAML file with the other options. Only as a flag or in the environment."},
      {"socket", "", SocketPath{&c.socket},
       "The Unix socket that applications connect to. Mount its directory into their containers."},
      {"models", "", Path{&c.models}, "The directory of the model store."},
      {"services", "", Services{&c.services},
       "The models to serve, each under the name that clients use. In YAML a map of names to "
       "models; as a flag or in the environment name=model,name=model. A model is a path when it "
       "starts with /, ./ or ../, otherwise an entry of the model store. In YAML a name can also "
       "have a map: model; prompts, a map of names to texts that are put before what is embedded, "
       "besides the model's own; prompt_default, the name of the one for calls that name none; and "
       "how "
       "its requests wait, run and are computed: long_input, precision, max_concurrent, "
       "max_queue_size, priority, weight, deadline_ms, latency_target_ms, cache, cache_ttl_s, "
       "which "
       "docs/OPTIONS.md explains."},

      {"control.socket", "", SocketPath{&c.control.socket},
       "The Unix socket that nacellectl connects to. Only the sidecar's own user and root may."},
      {"control.connections_max", "connections", U32{&c.control.connections_max, 1, 256},
       "Operators' connections at the same time."},

      {"log.level", "", Level{&c.log.level}, "The least important lines to log."},

      {"transport.connections_max", "connections", U32{&c.transport.connections_max, 1, 1024},
       "Application connections at the same time. Each takes at most the two arenas below."},
      {"transport.connections_per_user_max", "connections",
       U32{&c.transport.connections_per_user_max, 1, 1024, 0},
       "Of these, connections of one user (uid) at the same time. At \"auto\" all of them."},
      {"transport.memory_bytes_max", "bytes", U64{&c.transport.memory_bytes_max, 0, 1024 * kGiB, 0},
       "Memory that all connections together may take. At \"auto\" half of the memory that the "
       "container, or without one the machine, may use. More connections are refused."},
      {"transport.slots", "requests", U32{&c.transport.slots, 1, 256},
       "Requests that one connection can have in flight."},
      {"transport.request_arena_bytes", "bytes",
       U64{&c.transport.request_arena_bytes, 64 * kKiB, kGiB},
       "Memory per connection for the texts of requests in flight."},
      {"transport.reply_arena_bytes", "bytes", U64{&c.transport.reply_arena_bytes, 64 * kKiB, kGiB},
       "Memory per connection for the results of requests in flight."},
      {"transport.stream_ring_bytes", "bytes", U32{&c.transport.stream_ring_bytes, 4096, 1U << 20},
       "Memory of the reply arena that each stream takes, rounded up to a power of two: what a "
       "slow reader may leave unread before its stream waits for it."},
      {"transport.allow_uids", "", Ids{&c.transport.allow_uids},
       "Users that may connect besides root and the sidecar's own, by number."},
      {"transport.allow_gids", "", Ids{&c.transport.allow_gids},
       "Groups whose members may connect, by number. A process counts by its primary group."},
      {"transport.spin_us", "us", I32{&c.transport.spin_us, 0, 1000, -1},
       "How long the sidecar looks for the next request before it sleeps. \"auto\" measures what a "
       "wake-up costs at start and spins three times as long, at most 100 us; with one CPU it "
       "yields for 10 us instead, and under a quota of fewer than two it sleeps at once."},

      {"limits.text_bytes_max", "bytes", U64{&c.limits.text_bytes_max, 1, 64 * kMiB},
       "The longest text that a request may hold. Longer ones are refused."},
      {"limits.items_max", "texts", U32{&c.limits.items_max, 1, 65'536},
       "Texts that one request may hold."},
      {"limits.windows_max", "windows", U32{&c.limits.windows_max, 1, 65'536},
       "Parts that chunk_mean may cut one text into, each as long as the model takes. Longer texts "
       "are refused."},

      {"admission.memory_percent_max", "percent", U32{&c.admission.memory_percent_max, 1, 100},
       "When more of the memory than this is in use, of the container or of the machine, new "
       "requests of services with the priority low or idle are answered \"busy\". 100 never "
       "refuses."},
      {"admission.cpu_percent_max", "percent", U32{&c.admission.cpu_percent_max, 1, 100},
       "The same when other processes take more than this of the CPU time that the sidecar leaves "
       "them, counted as at least half of all. The sidecar's own work never counts: what it may "
       "take is the scheduler's to share out. 100 never refuses."},
      {"admission.resume_margin_percent", "percent", U32{&c.admission.resume_margin_percent, 0, 50},
       "How far both have to fall below these limits before such requests are taken again."},
      {"admission.period_ms", "ms", U32{&c.admission.period_ms, 10, 60'000},
       "How often memory and CPU are looked at."},

      {"scheduler.batch_tokens_max", "tokens", U32{&c.scheduler.batch_tokens_max, 16, 1'048'576, 0},
       "Tokens that one batch may hold. A single text with more of them makes a batch of its own. "
       "\"auto\" takes the smallest of what fits in the free memory, the size from which on larger "
       "batches are hardly faster per token (measured when a service is loaded), and what the "
       "services' latency_target_ms allow, but at least the longest text."},
      {"scheduler.measure_ms", "ms", U32{&c.scheduler.measure_ms, 0, 10'000},
       "How long each service's throughput is measured at load for that. At 0 nothing is measured: "
       "\"auto\" is 4096 tokens then, half of it with less than 2 GiB of free memory and a quarter "
       "with less than 1 GiB."},
      {"scheduler.max_delay_us", "us", U32{&c.scheduler.max_delay_us, 0, 1'000'000},
       "How long a request may wait for others to share its batch. At 0 a batch takes what is "
       "there when the device becomes free."},
      {"scheduler.queue_requests_max", "requests", U32{&c.scheduler.queue_requests_max, 1, 65'536},
       "Requests that may wait. More are answered \"busy\". Of both limits one connection may take "
       "no more than it leaves free."},
      {"scheduler.queue_tokens_max", "tokens",
       U64{&c.scheduler.queue_tokens_max, 1024, 1'073'741'824},
       "Tokens of requests that may wait, 8 bytes each. A request that finds the queue empty is "
       "taken whatever its size."},
      {"scheduler.queue_ms_max", "ms", U32{&c.scheduler.queue_ms_max, 0, 3'600'000},
       "How long computing all that waits may take. Beyond it a connection that has its equal part "
       "of the queue gets no more in, unless it is alone. At 0 there is no such bound."},
      {"scheduler.deadline_default_ms", "ms", U32{&c.scheduler.deadline_default_ms, 1, 3'600'000},
       "The time after which a request that names no deadline is given up."},

      {"cache.memory_bytes", "bytes", U64{&c.cache.memory_bytes, 0, 100 * kGiB},
       "Memory of the result cache, for each domain that has one: taken when its first client "
       "connects, and exactly that much. 0 keeps no cache."},
      {"cache.domain", "", Word{&c.cache.domain, kDomains},
       "Whose answers are shared. uid: clients of one user have a cache of their own, which no "
       "other can see. pod: all clients have one together; each can then tell, by how quickly it "
       "is answered, what others have asked."},
      {"cache.domains_max", "domains", U32{&c.cache.domains_max, 1, 1024},
       "Caches at the same time. One without clients makes room for a new user's; while all have "
       "clients, further users are served without a cache."},
      {"cache.ttl_s", "s", U32{&c.cache.ttl_s, 1, kYearS},
       "How long an answer is kept at most. A service's own cache_ttl_s wins."},
      {"cache.directory", "", Path{&c.cache.directory, true},
       "Where answers are kept over a restart: a directory of this sidecar alone, made when it is "
       "missing. Empty keeps them in memory only."},
      {"cache.disk_bytes", "bytes", U64{&c.cache.disk_bytes, 64 * kKiB, 1024 * kGiB},
       "What the files of one domain may take there, all together."},
      {"cache.durability", "", Word{&c.cache.durability, kDurabilities},
       "What a power cut may cost: none, what the kernel has not written yet; interval, the last "
       "seconds; always, nothing that was answered, for a wait of the disk with every batch. A "
       "process that is killed costs nothing with any of them."},

      {"kernels.backend", "", BackendName{&c.kernels.backend},
       "What computes: a backend (cpu, reference), a backend with a target (cpu/avx2), or \"auto\" "
       "for the best that this machine has."},
      {"kernels.threads", "threads", U32{&c.kernels.threads, 1, 1024, 0},
       "Threads that compute. \"auto\" takes the CPUs that this process may use: its affinity mask "
       "and cgroup quota count."},
      {"kernels.precision", "", Word{&c.kernels.precision, kPrecisions},
       "In which arithmetic encoders compute. auto is what a model's files hold: int8 where they "
       "are quantized (nacellectl quantize makes such), fp32 otherwise. bf16 is faster where the "
       "CPU "
       "has instructions for it, and changes embeddings by a cosine of 0.9998 or more. A service's "
       "own precision "
       "wins."},
      {"kernels.packed_folder", "", Path{&c.kernels.packed_folder, true},
       "A folder that keeps weights as the kernels want them, so that a model that was loaded once "
       "is loaded faster, and sidecars on one machine share the memory. Empty: none are kept."},

      {"metrics.listen", "", ListenAddress{&c.metrics.listen},
       "Where /metrics, /healthz and /readyz are served over HTTP, such as 127.0.0.1:9464. Empty: "
       "nowhere; nacellectl metrics needs no network."},
      {"metrics.reach", "", Word{&c.metrics.reach, kReaches},
       "The addresses that metrics.listen may have. loopback: only those that this machine (this "
       "pod) alone can reach. any: all; whoever reaches it reads the names of services and "
       "clients, "
       "without a password."},

      {"shutdown.drain_timeout_ms", "ms", U32{&c.shutdown.drain_timeout_ms, 0, 3'600'000},
       "How long SIGTERM waits for requests in flight before it drops them."},
  };
}

}  // namespace nacelle::config
