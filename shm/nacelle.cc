// The C interface over nacelle::Client: no exceptions cross it, and nothing here decides anything.
#include "shm/nacelle.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "shm/client.h"
#include "shm/pending.h"
#include "shm/stream.h"

struct nacelle_client {
  std::unique_ptr<nacelle::Client> client;
};
struct nacelle_pending {
  std::unique_ptr<nacelle::Pending> call;
};
struct nacelle_stream {
  std::unique_ptr<nacelle::Stream> stream;
};

namespace {

using nacelle::base::Code;
using nacelle::base::Error;

static_assert(sizeof(nacelle_item) == sizeof(nacelle::shm::ItemReport));
static_assert(offsetof(nacelle_item, detail) == offsetof(nacelle::shm::ItemReport, detail));
static_assert(offsetof(nacelle_item, tokens_total) ==
              offsetof(nacelle::shm::ItemReport, tokens_total));
static_assert(int{NACELLE_UBINARY} == static_cast<int>(nacelle::shm::Element::kUbinary));
static_assert(int{NACELLE_NORMALIZE_ON} == static_cast<int>(nacelle::shm::Normalize::kOn));
static_assert(int{NACELLE_RAW} == static_cast<int>(nacelle::shm::Function::kNone));
static_assert(int{NACELLE_CACHE_REFRESH} == static_cast<int>(nacelle::shm::CacheMode::kRefresh));
static_assert(int{NACELLE_CHUNK_MEAN} == static_cast<int>(nacelle::shm::LongInput::kChunkMean));

thread_local std::string last_error = "no error";

nacelle_status failed(const Error& error) {
  last_error = error.message;
  return static_cast<nacelle_status>(error.code);
}

// Runs a call; an exception (only memory can run out here) becomes a status.
template <typename Call>
nacelle_status guarded(Call&& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return failed({Code::kUnavailable, "out of memory"});
  } catch (const std::exception& e) {
    return failed({Code::kInternal, e.what()});
  }
}

// A caller's struct, as far as its size says it has it; zeros beyond.
template <typename Struct>
Struct read_versioned(const Struct* given) {
  Struct copy{};
  if (given != nullptr) std::memcpy(&copy, given, std::min<std::size_t>(given->size, sizeof copy));
  return copy;
}

// Writes as much of `full` as the caller's struct has room for, and keeps its size.
template <typename Struct>
void write_versioned(Struct full, Struct* out) {
  const std::uint32_t size = out->size;
  full.size = size;
  std::memcpy(out, &full, std::min<std::size_t>(size, sizeof full));
}

std::span<nacelle::shm::ItemReport> items_of(nacelle_item* items, std::size_t count) {
  return {reinterpret_cast<nacelle::shm::ItemReport*>(items), items != nullptr ? count : 0};
}

// One of the values of an enum; an error names what has another.
template <typename Enum>
nacelle::base::Result<Enum> value_of(const char* name, std::uint32_t value, std::uint8_t end) {
  if (value < end) return static_cast<Enum>(value);
  return Error{Code::kInvalid, std::string(name) + " is " + std::to_string(value) +
                                   "; this library knows 0 to " + std::to_string(end - 1)};
}

nacelle::base::Result<nacelle::CallOptions> options_of(const nacelle_call* call) {
  namespace shm = nacelle::shm;
  const nacelle_call wanted = read_versioned(call);
  const auto dtype = value_of<shm::Element>("dtype", wanted.dtype, shm::kElementsEnd);
  if (!dtype) return dtype.error();
  const auto normalize =
      value_of<shm::Normalize>("normalize", wanted.normalize, shm::kNormalizesEnd);
  if (!normalize) return normalize.error();
  const auto function = value_of<shm::Function>("function", wanted.function, shm::kFunctionsEnd);
  if (!function) return function.error();
  const auto long_input =
      value_of<shm::LongInput>("long_input", wanted.long_input, shm::kLongInputsEnd);
  if (!long_input) return long_input.error();
  const auto cache = value_of<shm::CacheMode>("cache", wanted.cache, shm::kCacheModesEnd);
  if (!cache) return cache.error();
  nacelle::CallOptions options{.timeout = std::chrono::milliseconds(wanted.timeout_ms),
                               .trace = wanted.trace,
                               .dtype = *dtype,
                               .dimensions = wanted.dimensions,
                               .normalize = *normalize,
                               .function = *function,
                               .long_input = *long_input,
                               .cache = *cache};
  if (wanted.prompt != nullptr) options.prompt = wanted.prompt;
  if (wanted.prompt_name != nullptr) options.prompt_name = wanted.prompt_name;
  return options;
}

// Bytes of `capacity` elements.
std::span<std::byte> bytes_of(void* out, std::size_t capacity, nacelle::shm::Element element) {
  // Of 8 numbers, so that bits are whole bytes; a byte of them is one element.
  const bool bits =
      element == nacelle::shm::Element::kBinary || element == nacelle::shm::Element::kUbinary;
  const std::size_t size = bits ? 1 : nacelle::shm::row_size(element, 1);
  const std::size_t most = SIZE_MAX / sizeof(float);
  return {static_cast<std::byte*>(out), std::min(capacity, most) * size};
}

void write_report(const nacelle::CallReport& from, nacelle_report* report) {
  if (report == nullptr) return;
  nacelle_report full{};
  full.items_failed = from.items_failed;
  full.queue_us = from.queue_us;
  full.compute_us = from.compute_us;
  full.batch_texts = from.batch_texts;
  full.batch_clients = from.batch_clients;
  full.retry_after_us = from.retry_after_us;
  full.items_cached = from.items_cached;
  write_versioned(full, report);
}

void write_description(const nacelle::ServiceInfo& info, nacelle_description* description) {
  nacelle_description full{};
  full.embed_width = info.embed_width;
  full.labels = static_cast<uint32_t>(info.labels.size());
  full.tokens_max = info.tokens_max;
  full.multi_label = info.multi_label ? 1 : 0;
  info.digest.copy(full.digest, sizeof full.digest - 1);
  info.architecture.copy(full.architecture, sizeof full.architecture - 1);
  full.reranks = info.reranks ? 1 : 0;
  full.long_input = static_cast<uint32_t>(info.long_input);
  full.windows_max = info.windows_max;
  full.prompts = static_cast<uint32_t>(info.prompts.size());
  write_versioned(full, description);
}

// The texts of a call: for reranking, the query and the documents.
struct Texts {
  const nacelle_text* query = nullptr;
  const nacelle_text* texts = nullptr;
  std::size_t count = 0;

  [[nodiscard]] bool null(nacelle::shm::Op op) const {
    return (texts == nullptr && count > 0) || (op == nacelle::shm::Op::kRerank && query == nullptr);
  }
  // As views; an error names the one that is NULL.
  [[nodiscard]] nacelle::base::Result<std::vector<std::string_view>> views() const {
    std::vector<std::string_view> views;
    views.reserve(count + 1);
    if (query != nullptr) {
      if (query->data == nullptr && query->size > 0) return Error{Code::kInvalid, "query is NULL"};
      views.emplace_back(query->data, query->size);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (texts[i].data == nullptr && texts[i].size > 0) {
        return Error{Code::kInvalid, "text " + std::to_string(i) + " is NULL"};
      }
      views.emplace_back(texts[i].data, texts[i].size);
    }
    return views;
  }
};

nacelle_status run(nacelle::shm::Op op, nacelle_client* client, const char* service,
                   const Texts& texts, const nacelle_call* call, void* out, std::size_t capacity,
                   nacelle_item* items, nacelle_report* report) noexcept {
  return guarded([&] {
    if (client == nullptr || service == nullptr || texts.null(op) ||
        (out == nullptr && capacity > 0)) {
      return failed({Code::kInvalid, "client, service, texts and the output must not be NULL"});
    }
    const auto views = texts.views();
    if (!views) return failed(views.error());
    const auto options = options_of(call);
    if (!options) return failed(options.error());
    nacelle::CallReport on_error;
    const nacelle::base::Result<nacelle::CallReport> done =
        client->client->run(op, service, *views, bytes_of(out, capacity, options->dtype),
                            items_of(items, texts.count), *options, &on_error);
    write_report(done ? *done : on_error, report);
    return done ? NACELLE_OK : failed(done.error());
  });
}

nacelle_status start(nacelle::shm::Op op, nacelle_client* client, const char* service,
                     const Texts& texts, const nacelle_call* call, void* out, std::size_t capacity,
                     nacelle_item* items, nacelle_description* description,
                     nacelle_pending** pending) {
  return guarded([&] {
    if (client == nullptr || service == nullptr || texts.null(op) ||
        (out == nullptr && capacity > 0) || pending == nullptr) {
      return failed(
          {Code::kInvalid, "client, service, texts, the output and pending must not be NULL"});
    }
    auto views = texts.views();
    if (!views) return failed(views.error());
    const auto options = options_of(call);
    if (!options) return failed(options.error());
    auto started = client->client->start(op, service, *std::move(views),
                                         bytes_of(out, capacity, options->dtype),
                                         items_of(items, texts.count), *options);
    if (!started) return failed(started.error());
    if (description != nullptr) write_description((*started)->service(), description);
    *pending = new nacelle_pending{*std::move(started)};
    return NACELLE_OK;
  });
}

// Copies one of a service's names for the caller.
nacelle_status copy_name(nacelle_client* client, const char* service, const char* what,
                         std::vector<std::string> nacelle::ServiceInfo::*names, uint32_t index,
                         char* text, size_t capacity, size_t* needed) noexcept {
  return guarded([&] {
    if (client == nullptr || service == nullptr || (text == nullptr && capacity > 0)) {
      return failed({Code::kInvalid, "client, service and text must not be NULL"});
    }
    const auto info = client->client->describe(service);
    if (!info) return failed(info.error());
    const std::vector<std::string>& list = **info.*names;
    if (index >= list.size()) {
      return failed({Code::kInvalid, std::string(what) + " " + std::to_string(index) + " of " +
                                         std::to_string(list.size())});
    }
    if (needed != nullptr) *needed = list[index].size();
    if (capacity > 0) text[list[index].copy(text, capacity - 1)] = '\0';
    return NACELLE_OK;
  });
}

}  // namespace

nacelle_status nacelle_connect(const nacelle_options* options, nacelle_client** client) {
  return guarded([&] {
    if (client == nullptr) return failed({Code::kInvalid, "client must not be NULL"});
    const nacelle_options wanted = read_versioned(options);
    nacelle::ClientOptions settings;
    if (wanted.socket != nullptr) settings.socket = wanted.socket;
    if (wanted.name != nullptr) settings.name = wanted.name;
    if (wanted.connect_timeout_ms > 0) {
      settings.connect_timeout = std::chrono::milliseconds(wanted.connect_timeout_ms);
    }
    auto connected = nacelle::Client::connect(settings);
    if (!connected) return failed(connected.error());
    *client = new nacelle_client{*std::move(connected)};
    return NACELLE_OK;
  });
}

void nacelle_close(nacelle_client* client) { delete client; }

nacelle_status nacelle_describe(nacelle_client* client, const char* service,
                                nacelle_description* description) {
  return guarded([&] {
    if (client == nullptr || service == nullptr || description == nullptr) {
      return failed({Code::kInvalid, "client, service and description must not be NULL"});
    }
    const auto info = client->client->describe(service);
    if (!info) return failed(info.error());
    write_description(**info, description);
    return NACELLE_OK;
  });
}

nacelle_status nacelle_recall(nacelle_client* client, const char* service,
                              nacelle_description* description) {
  return guarded([&] {
    if (client == nullptr || service == nullptr || description == nullptr) {
      return failed({Code::kInvalid, "client, service and description must not be NULL"});
    }
    const auto info = client->client->recall(service);
    if (!info) return failed({Code::kNotFound, "no answers of the service are at hand"});
    write_description(*info, description);
    return NACELLE_OK;
  });
}

nacelle_status nacelle_label(nacelle_client* client, const char* service, uint32_t index,
                             char* text, size_t capacity, size_t* needed) {
  return copy_name(client, service, "label", &nacelle::ServiceInfo::labels, index, text, capacity,
                   needed);
}

nacelle_status nacelle_prompt(nacelle_client* client, const char* service, uint32_t index,
                              char* text, size_t capacity, size_t* needed) {
  return copy_name(client, service, "prompt", &nacelle::ServiceInfo::prompts, index, text, capacity,
                   needed);
}

nacelle_status nacelle_embed(nacelle_client* client, const char* service, const nacelle_text* texts,
                             size_t count, const nacelle_call* call, void* vectors, size_t capacity,
                             nacelle_item* items, nacelle_report* report) {
  return run(nacelle::shm::Op::kEmbed, client, service, {nullptr, texts, count}, call, vectors,
             capacity, items, report);
}

nacelle_status nacelle_classify(nacelle_client* client, const char* service,
                                const nacelle_text* texts, size_t count, const nacelle_call* call,
                                float* scores, size_t capacity, nacelle_item* items,
                                nacelle_report* report) {
  return run(nacelle::shm::Op::kClassify, client, service, {nullptr, texts, count}, call, scores,
             capacity, items, report);
}

nacelle_status nacelle_rerank(nacelle_client* client, const char* service,
                              const nacelle_text* query, const nacelle_text* documents,
                              size_t count, const nacelle_call* call, float* scores,
                              size_t capacity, nacelle_item* items, nacelle_report* report) {
  return run(nacelle::shm::Op::kRerank, client, service, {query, documents, count}, call, scores,
             capacity, items, report);
}

size_t nacelle_best(const float* scores, size_t count, uint32_t* best, size_t top) {
  if (scores == nullptr || best == nullptr || top == 0) return 0;
  size_t written = 0;
  guarded([&] {
    const auto wanted = static_cast<uint32_t>(std::min<size_t>(top, UINT32_MAX));
    for (const uint32_t index : nacelle::best_of({scores, count}, wanted)) best[written++] = index;
    return NACELLE_OK;
  });
  return written;
}

nacelle_status nacelle_start_embed(nacelle_client* client, const char* service,
                                   const nacelle_text* texts, size_t count,
                                   const nacelle_call* call, void* vectors, size_t capacity,
                                   nacelle_item* items, nacelle_description* description,
                                   nacelle_pending** pending) {
  return start(nacelle::shm::Op::kEmbed, client, service, {nullptr, texts, count}, call, vectors,
               capacity, items, description, pending);
}

nacelle_status nacelle_start_classify(nacelle_client* client, const char* service,
                                      const nacelle_text* texts, size_t count,
                                      const nacelle_call* call, float* scores, size_t capacity,
                                      nacelle_item* items, nacelle_description* description,
                                      nacelle_pending** pending) {
  return start(nacelle::shm::Op::kClassify, client, service, {nullptr, texts, count}, call, scores,
               capacity, items, description, pending);
}

nacelle_status nacelle_start_rerank(nacelle_client* client, const char* service,
                                    const nacelle_text* query, const nacelle_text* documents,
                                    size_t count, const nacelle_call* call, float* scores,
                                    size_t capacity, nacelle_item* items,
                                    nacelle_description* description, nacelle_pending** pending) {
  return start(nacelle::shm::Op::kRerank, client, service, {query, documents, count}, call, scores,
               capacity, items, description, pending);
}

nacelle_status nacelle_pending_advance(nacelle_pending* pending, int* done,
                                       nacelle_report* report) {
  return guarded([&] {
    if (pending == nullptr || done == nullptr) {
      return failed({Code::kInvalid, "pending and done must not be NULL"});
    }
    nacelle::CallReport on_error;
    const auto state = pending->call->advance(&on_error);
    *done = state && *state ? 1 : 0;
    if (!state) {
      write_report(on_error, report);
      return failed(state.error());
    }
    if (*state) write_report(**state, report);
    return NACELLE_OK;
  });
}

int nacelle_pending_fd(const nacelle_pending* pending) { return pending->call->fd(); }

void nacelle_pending_free(nacelle_pending* pending) { delete pending; }

nacelle_status nacelle_ping_stream(nacelle_client* client, uint32_t pieces, uint32_t piece_size,
                                   uint32_t interval_us, const nacelle_call* call,
                                   nacelle_stream** stream) {
  return guarded([&] {
    if (client == nullptr || stream == nullptr) {
      return failed({Code::kInvalid, "client and stream must not be NULL"});
    }
    const auto options = options_of(call);
    if (!options) return failed(options.error());
    auto made = client->client->ping_stream(pieces, piece_size,
                                            std::chrono::microseconds(interval_us), *options);
    if (!made) return failed(made.error());
    *stream = new nacelle_stream{*std::move(made)};
    return NACELLE_OK;
  });
}

nacelle_status nacelle_stream_next(nacelle_stream* stream, const void** data, size_t* size) {
  return guarded([&] {
    if (stream == nullptr || data == nullptr || size == nullptr) {
      return failed({Code::kInvalid, "stream, data and size must not be NULL"});
    }
    *data = nullptr;
    *size = 0;
    const auto piece = stream->stream->next();
    if (!piece) return failed(piece.error());
    if (!*piece) return NACELLE_OK;
    static const char empty = 0;  // so that a piece of no bytes is not the end
    *data = (*piece)->empty() ? static_cast<const void*>(&empty) : (*piece)->data();
    *size = (*piece)->size();
    return NACELLE_OK;
  });
}

void nacelle_stream_free(nacelle_stream* stream) { delete stream; }

nacelle_status nacelle_ping(nacelle_client* client, void* data, size_t size) {
  return guarded([&] {
    if (client == nullptr || (data == nullptr && size > 0)) {
      return failed({Code::kInvalid, "client and data must not be NULL"});
    }
    if (size > (1U << 20)) return failed({Code::kTooLarge, "a ping has at most 1 MiB"});
    const auto done = client->client->ping({static_cast<std::byte*>(data), size});
    return done ? NACELLE_OK : failed(done.error());
  });
}

const char* nacelle_error(void) { return last_error.c_str(); }

const char* nacelle_status_name(nacelle_status status) {
  return nacelle::base::code_name(static_cast<Code>(status)).data();
}

const char* nacelle_version(void) { return NACELLE_VERSION; }
