// What an operator can decide. Every option is declared once: a member here with its default, and
// one line in config/fields.cc with its name, unit, bounds and help.
//
// From these two lines an option shows up in
//
//   the YAML file      transport: {slots: 128}, or transport.slots: 128
//   the environment    NACELLE_TRANSPORT_SLOTS=128
//   the flags          --transport.slots=128
//   the help           nacelled --help, nacellectl config explain, docs/OPTIONS.md
//
// A flag wins over the environment, the environment over the file, the file over the default; an
// option is taken whole from one place (lists and services are not merged).
//
//   config/fields.h     the list of options and the types they can have
//   config/value.h      text to value and back, with bounds
//   config/yaml.h flags.h environment.h     the three places settings come from
//   config/report.h     help, explain, docs
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/log.h"
#include "sidecar/base/result.h"

namespace nacelle::sidecar {

// What happens to a text of more tokens than its model takes, when the call does not say.
enum class LongInputDefault : std::uint8_t { kTruncate, kReject, kChunkMean };
inline constexpr std::string_view kLongInputNames[] = {"truncate", "reject", "chunk_mean"};

// The arithmetic of a service's encoder (sidecar/model/precision.h); kDefault is kernels.precision.
enum class ServicePrecision : std::uint8_t { kDefault, kAuto, kF32, kBf16 };
inline constexpr std::string_view kServicePrecisionNames[] = {"default", "auto", "fp32", "bf16"};

// What runs first when more waits than the device can do; classes that wait grow older and rise.
enum class Priority : std::uint8_t { kHigh, kNormal, kLow, kIdle };
inline constexpr std::string_view kPriorityNames[] = {"high", "normal", "low", "idle"};

// What calls that do not say do with the result cache; off and read_only bind those that do, too
// (shm/layout.h, cache_use()).
enum class ServiceCache : std::uint8_t { kUse, kOff, kReadOnly, kRefresh };
inline constexpr std::string_view kServiceCacheNames[] = {"use", "off", "read_only", "refresh"};

// How the requests of a service wait and run.
struct ServicePolicy {
  static constexpr std::uint32_t kUnlimited = UINT32_MAX;

  std::uint32_t max_concurrent = kUnlimited;  // requests in batches at the same time
  std::uint32_t max_queue_size = kUnlimited;  // requests that wait for that; may be 0
  Priority priority = Priority::kNormal;
  std::uint32_t weight = 1;             // its share beside others of its class
  std::uint32_t deadline_ms = 0;        // of requests that name none; 0: scheduler's default
  std::uint32_t latency_target_ms = 0;  // from arrival to answer; 0: none
  ServiceCache cache = ServiceCache::kUse;
  std::uint32_t cache_ttl_s = 0;  // how long an answer is kept; 0: as cache.ttl_s

  bool operator==(const ServicePolicy&) const = default;
};

// What is put before texts that are embedded: "query: ".
struct Prompt {
  std::string name;  // 1 to 63 bytes
  std::string text;  // at most 4096 bytes
};

// A model under the name that clients call it by.
struct Service {
  std::string name;   // [a-z0-9._-], 1 to 63 characters
  std::string model;  // a path when it starts with /, ./ or ../, else a store entry
  // The rest can be set in the YAML file only.
  std::vector<Prompt> prompts = {};  // sorted by name
  std::string prompt_default = {};   // the one for calls that name none; empty: no prompt
  LongInputDefault long_input = LongInputDefault::kTruncate;
  ServicePrecision precision = ServicePrecision::kDefault;
  ServicePolicy policy = {};
};

struct Config {
  std::string config;  // the YAML file; empty means there is none
  std::string socket = "/run/nacelle/nacelle.sock";
  std::string models = "/var/lib/nacelle/models";
  std::vector<Service> services;  // sorted by name

  struct Control {
    std::string socket = "/run/nacelle/control.sock";
    std::uint32_t connections_max = 16;
  } control;

  struct Log {
    base::LogLevel level = base::LogLevel::kInfo;
  } log;

  struct Transport {
    std::uint32_t connections_max = 64;
    std::uint32_t connections_per_user_max = 0;  // 0: as connections_max
    std::uint64_t memory_bytes_max = 0;          // of all connections; 0: half of what there is
    std::uint32_t slots = 64;                    // requests in flight per connection
    std::uint64_t request_arena_bytes = 2ULL << 20;
    std::uint64_t reply_arena_bytes = 4ULL << 20;
    std::uint32_t stream_ring_bytes = 16U << 10;  // per stream, in the reply arena
    std::vector<std::uint32_t> allow_uids;
    std::vector<std::uint32_t> allow_gids;
    std::int32_t spin_us = -1;  // -1: calibrated at start
  } transport;

  struct Limits {
    std::uint64_t text_bytes_max = 1ULL << 20;
    std::uint32_t items_max = 4096;   // texts per request
    std::uint32_t windows_max = 128;  // per text, with chunk_mean
  } limits;

  struct Admission {  // of services of low and idle priority
    std::uint32_t memory_percent_max = 90;
    std::uint32_t cpu_percent_max = 90;
    std::uint32_t resume_margin_percent = 5;
    std::uint32_t period_ms = 3000;
  } admission;

  struct Scheduler {
    std::uint32_t batch_tokens_max = 0;  // 0: by memory, measured throughput and latency targets
    std::uint32_t measure_ms = 300;      // of each service at load; 0: nothing is measured
    std::uint32_t max_delay_us = 0;
    std::uint32_t queue_requests_max = 1024;
    std::uint64_t queue_tokens_max = 1ULL << 20;
    std::uint32_t queue_ms_max = 500;  // 0: no bound
    std::uint32_t deadline_default_ms = 30'000;
  } scheduler;

  struct Cache {
    std::uint64_t memory_bytes = 0;  // of each domain; 0: there is no cache
    std::string domain = "uid";      // who shares answers: uid, pod
    std::uint32_t domains_max = 4;
    std::uint32_t ttl_s = 86'400;
    std::string directory = "";             // "": memory alone
    std::uint64_t disk_bytes = 1ULL << 30;  // of each domain
    std::string durability = "interval";    // none, interval, always
  } cache;

  struct Kernels {
    std::string backend = "auto";
    std::uint32_t threads = 0;  // 0: the CPUs this process may use
    std::string precision = "auto";
    std::string packed_folder;  // of packed weights; empty: none are kept
  } kernels;

  struct Metrics {
    std::string listen;              // address:port of the HTTP listener; empty: there is none
    std::string reach = "loopback";  // the addresses it may have: loopback, any
  } metrics;

  struct Shutdown {
    std::uint32_t drain_timeout_ms = 10'000;
  } shutdown;
};

// One option as people see it. All text, so that it travels to nacellectl unchanged.
struct Option {
  std::string name;           // "transport.slots"
  std::string flag;           // "--transport.slots"
  std::string environment;    // "NACELLE_TRANSPORT_SLOTS"
  std::string type;           // "whole number"
  std::string unit;           // "requests"; empty when there is none
  std::string bounds;         // "1 to 256"
  std::string default_value;  // "64"
  std::string value;          // "128"
  std::string source;  // "default", "/etc/nacelle.yaml:3:10", "NACELLE_...", "--transport.slots"
  std::string help;    // one or more sentences
};

// What the command line asks for. Valid: every bound and every rule between options holds.
struct LoadedConfig {
  Config config;
  std::vector<Option> options;  // one per option, in the order of the list

  // When set, print this on standard output and leave with success instead of serving (--help,
  // --version, --explain, --print-options-markdown). `config` is then not to be used.
  std::optional<std::string> print;

  // An error about a value that only a later stage can judge (does this backend exist?), told like
  // the errors of load_config: the option, its value, where it was set, then `why`.
  [[nodiscard]] base::Error refuse(std::string_view option, std::string_view why) const;
};

// Reads flags, environment and file, in that order of precedence. Nothing but the YAML file is
// opened. `environment` is an environ: "NAME=value" strings, null at the end. Errors: kInvalid
// with every problem found (up to 20), kNotFound, kDenied or kTooLarge for the file itself.
base::Result<LoadedConfig> load_config(int argc, const char* const* argv,
                                       const char* const* environment);

// The version of this build: "0.1.0".
std::string_view version();

}  // namespace nacelle::sidecar
