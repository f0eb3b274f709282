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

struct nacelle_client {
  std::unique_ptr<nacelle::Client> client;
};

namespace {

using nacelle::base::Code;
using nacelle::base::Error;

static_assert(sizeof(nacelle_item) == sizeof(nacelle::shm::ItemReport));
static_assert(offsetof(nacelle_item, detail) == offsetof(nacelle::shm::ItemReport, detail));

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

nacelle_status run(nacelle::shm::Op op, nacelle_client* client, const char* service,
                   const nacelle_text* texts, std::size_t count, const nacelle_call* call,
                   float* out, std::size_t capacity, nacelle_item* items,
                   nacelle_report* report) noexcept {
  return guarded([&] {
    if (client == nullptr || service == nullptr || (texts == nullptr && count > 0) ||
        (out == nullptr && capacity > 0)) {
      return failed({Code::kInvalid, "client, service, texts and the output must not be NULL"});
    }
    std::vector<std::string_view> views(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (texts[i].data == nullptr && texts[i].size > 0) {
        return failed({Code::kInvalid, "text " + std::to_string(i) + " is NULL"});
      }
      views[i] = std::string_view(texts[i].data, texts[i].size);
    }
    const nacelle_call wanted = read_versioned(call);
    nacelle::CallReport on_error;
    const nacelle::base::Result<nacelle::CallReport> done = client->client->run(
        op, service, views, {out, capacity},
        {reinterpret_cast<nacelle::shm::ItemReport*>(items), items != nullptr ? count : 0},
        {.timeout = std::chrono::milliseconds(wanted.timeout_ms), .trace = wanted.trace},
        &on_error);
    if (report != nullptr) {
      const nacelle::CallReport& from = done ? *done : on_error;
      nacelle_report full{};
      full.items_failed = from.items_failed;
      full.queue_us = from.queue_us;
      full.compute_us = from.compute_us;
      full.batch_texts = from.batch_texts;
      full.batch_clients = from.batch_clients;
      full.retry_after_us = from.retry_after_us;
      write_versioned(full, report);
    }
    return done ? NACELLE_OK : failed(done.error());
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
    nacelle_description full{};
    full.embed_width = (*info)->embed_width;
    full.labels = static_cast<uint32_t>((*info)->labels.size());
    full.tokens_max = (*info)->tokens_max;
    full.multi_label = (*info)->multi_label ? 1 : 0;
    (*info)->digest.copy(full.digest, sizeof full.digest - 1);
    (*info)->architecture.copy(full.architecture, sizeof full.architecture - 1);
    write_versioned(full, description);
    return NACELLE_OK;
  });
}

nacelle_status nacelle_label(nacelle_client* client, const char* service, uint32_t index,
                             char* text, size_t capacity, size_t* needed) {
  return guarded([&] {
    if (client == nullptr || service == nullptr || (text == nullptr && capacity > 0)) {
      return failed({Code::kInvalid, "client, service and text must not be NULL"});
    }
    const auto info = client->client->describe(service);
    if (!info) return failed(info.error());
    if (index >= (*info)->labels.size()) {
      return failed({Code::kInvalid, "label " + std::to_string(index) + " of " +
                                         std::to_string((*info)->labels.size())});
    }
    const std::string& label = (*info)->labels[index];
    if (needed != nullptr) *needed = label.size();
    if (capacity > 0) text[label.copy(text, capacity - 1)] = '\0';
    return NACELLE_OK;
  });
}

nacelle_status nacelle_embed(nacelle_client* client, const char* service, const nacelle_text* texts,
                             size_t count, const nacelle_call* call, float* vectors,
                             size_t capacity, nacelle_item* items, nacelle_report* report) {
  return run(nacelle::shm::Op::kEmbed, client, service, texts, count, call, vectors, capacity,
             items, report);
}

nacelle_status nacelle_classify(nacelle_client* client, const char* service,
                                const nacelle_text* texts, size_t count, const nacelle_call* call,
                                float* scores, size_t capacity, nacelle_item* items,
                                nacelle_report* report) {
  return run(nacelle::shm::Op::kClassify, client, service, texts, count, call, scores, capacity,
             items, report);
}

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
