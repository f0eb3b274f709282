// A whole sidecar in the test's process: a real model, real sockets and memory.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "shm/client.h"
#include "shm/link.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"
#include "sidecar/pipeline.h"
#include "tests/support/temp_dir.h"

namespace nacelle::sidecar {

inline constexpr std::string_view kGood = "정말 재미있는 영화였어요";
inline constexpr std::string_view kBad = "시간 낭비, 최악의 영화";

class PipelineTest : public ::testing::Test {
 protected:
  // The model is loaded once; each test gets a pipeline of its own around it.
  static void SetUpTestSuite() {
    auto backend = kernels::create_backend("auto", 2);
    CHECK(backend.has_value());
    backend_ = backend->release();
    Config config;
    config.services = {{"sentiment", NACELLE_SOURCE_DIR "/tests/data/nsmc-bert-ko"}};
    auto services = Services::load(config, *backend_);
    CHECK(services.has_value());
    services_ = new Services(*std::move(services));
  }
  static void TearDownTestSuite() {
    delete services_;
    delete backend_;
  }

  void SetUp() override {
    config_.socket = dir_ / "nacelle.sock";
    config_.control.socket = dir_ / "control.sock";
  }
  void start() {
    auto pipeline = Pipeline::start(config_, *services_);
    ASSERT_TRUE(pipeline) << pipeline.error().message;
    pipeline_ = *std::move(pipeline);
  }
  std::unique_ptr<Client> connect(
      std::chrono::milliseconds timeout = std::chrono::milliseconds(5000)) {
    auto client =
        Client::connect({.socket = config_.socket, .name = "test", .connect_timeout = timeout});
    CHECK(client.has_value());
    return *std::move(client);
  }
  // A connection without the client library's manners.
  std::shared_ptr<shm::Link> raw() {
    auto link = shm::Link::open(config_.socket, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
    CHECK(link.has_value());
    return *link;
  }
  // Sends bytes as they are.
  static base::Result<shm::Ticket> send(shm::Link& link, const shm::CallFields& fields,
                                        const std::string& payload) {
    return link.submit(fields, static_cast<std::uint32_t>(payload.size()),
                       base::now_ns() + 20 * base::kSecond, [&](std::span<std::byte> out) {
                         base::copy_bytes(out.data(), payload.data(), payload.size());
                       });
  }
  // One good text to embed.
  static base::Result<shm::Ticket> send_text(shm::Link& link);
  // Sends bytes as they are, and tells what came back.
  static shm::ReplyFields ask(shm::Link& link, const shm::CallFields& fields,
                              const std::string& payload) {
    const auto ticket = send(link, fields, payload);
    CHECK(ticket.has_value());
    auto answer = link.wait(*ticket);
    CHECK(answer.has_value());
    const shm::ReplyFields reply = answer->fields;
    link.finish(*ticket);
    return reply;
  }

  static inline kernels::Backend* backend_ = nullptr;
  static inline Services* services_ = nullptr;
  nacelle::testing::TempDir dir_;
  Config config_;
  std::unique_ptr<Pipeline> pipeline_;
};
inline std::string text_list(const std::vector<std::string>& texts) {
  std::string sizes;
  std::string bytes;
  for (const std::string& text : texts) {
    const auto size = static_cast<std::uint32_t>(text.size());
    sizes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes += text;
  }
  return sizes + bytes;
}

inline base::Result<shm::Ticket> PipelineTest::send_text(shm::Link& link) {
  return send(link, {.op = shm::Op::kEmbed, .items = 1}, text_list({std::string(kGood)}));
}

}  // namespace nacelle::sidecar
