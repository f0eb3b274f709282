// What a service is made of: its model, and what the configuration adds to that.
#include "sidecar/services.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "sidecar/base/check.h"
#include "sidecar/quantize/compare.h"
#include "tests/support/data.h"
#include "tests/support/temp_dir.h"

namespace nacelle::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;

class ServicesTest : public ::testing::Test {
 protected:
  ServicesTest() {
    auto backend = kernels::create_backend("auto", 1);
    CHECK(backend.has_value());
    backend_ = *std::move(backend);
    std::filesystem::copy(testing::data_path("tiny-bert"), folder_.path(),
                          std::filesystem::copy_options::recursive);
    service_ = {.name = "tiny", .model = folder_.path()};
  }
  void write_prompts(const std::string& json) const {
    folder_.write("config_sentence_transformers.json", json);
  }
  base::Result<Services> load() {
    Config config;
    config.services = {service_};
    return Services::load(config, *backend_);
  }
  std::string complaint() {
    const auto services = load();
    return services ? "" : services.error().message;
  }

  std::unique_ptr<kernels::Backend> backend_;
  testing::TempDir folder_;
  Service service_;
};

TEST_F(ServicesTest, AModelsPromptsAreThereAndTheServicesOwnWin) {
  write_prompts(R"({"prompts": {"query": "q: ", "passage": "p: "},
                    "default_prompt_name": "passage"})");
  service_.prompts = {{"query", "other: "}, {"task", "t: "}};
  const auto services = load();
  ASSERT_TRUE(services) << services.error().message;
  const LoadedService& loaded = services->at(0);
  EXPECT_THAT(loaded.prompts,
              ElementsAre(Field(&Prompt::text, "p: "), Field(&Prompt::text, "other: "),
                          Field(&Prompt::text, "t: ")));
  EXPECT_EQ(loaded.prompt_default, "p: ");

  service_.prompt_default = "task";
  EXPECT_EQ(load()->at(0).prompt_default, "t: ");
  service_.prompt_default = "query";
  EXPECT_EQ(load()->at(0).prompt_default, "other: ");
}

TEST_F(ServicesTest, ADefaultPromptMustBeOneOfThem) {
  service_.prompts = {{"query", "q: "}};
  service_.prompt_default = "passage";
  EXPECT_THAT(complaint(), HasSubstr("loading service tiny: prompt_default is \"passage\""));
}

TEST_F(ServicesTest, AModelsPromptHasALimitThatTheServiceCanMend) {
  write_prompts(R"({"prompts": {"query": ")" + std::string(4097, 'q') + "\"}}");
  EXPECT_THAT(complaint(), HasSubstr("the model's prompt \"query\" has 4097 bytes"));
  service_.prompts = {{"query", "q: "}};
  EXPECT_EQ(complaint(), "");
}

TEST_F(ServicesTest, AServiceAnswersWhatItsModelCan) {
  const auto services = load();
  ASSERT_TRUE(services) << services.error().message;
  const LoadedService& encoder = services->at(0);
  EXPECT_TRUE(encoder.answers(shm::Op::kEmbed));
  EXPECT_FALSE(encoder.answers(shm::Op::kClassify));
  EXPECT_FALSE(encoder.answers(shm::Op::kRerank));
  EXPECT_FALSE(encoder.answers(shm::Op::kPing));
  service_.model = testing::data_path("tiny-reranker");
  const auto reranker = load();
  ASSERT_TRUE(reranker) << reranker.error().message;
  EXPECT_TRUE(reranker->at(0).answers(shm::Op::kRerank));
  EXPECT_TRUE(reranker->at(0).answers(shm::Op::kClassify));
}

TEST_F(ServicesTest, PrecisionIsTheServicesOwnOrThatOfAll) {
  struct Row {
    const char* of_all;
    ServicePrecision own;
    model::Precision expected;
  };
  for (const Row& row : {Row{"auto", ServicePrecision::kDefault, model::Precision::kF32},
                         Row{"bf16", ServicePrecision::kDefault, model::Precision::kBf16},
                         Row{"fp32", ServicePrecision::kBf16, model::Precision::kBf16},
                         Row{"bf16", ServicePrecision::kF32, model::Precision::kF32},
                         Row{"bf16", ServicePrecision::kAuto, model::Precision::kF32}}) {
    Config config;
    config.services = {service_};
    config.services[0].precision = row.own;
    config.kernels.precision = row.of_all;
    const auto services = Services::load(config, *backend_);
    ASSERT_TRUE(services) << services.error().message;
    EXPECT_EQ(services->at(0).model->info().precision, row.expected) << row.of_all;
  }
}

TEST_F(ServicesTest, APolicyIsTheServicesOwnAndItsDefaultTimesAreAlwaysSet) {
  service_.policy = {.max_concurrent = 2, .max_queue_size = 10, .priority = Priority::kLow};
  const auto services = load();
  ASSERT_TRUE(services) << services.error().message;
  ServicePolicy expected = service_.policy;
  expected.deadline_ms = Config().scheduler.deadline_default_ms;
  expected.cache_ttl_s = Config().cache.ttl_s;
  EXPECT_EQ(services->at(0).policy, expected);
  service_.policy.deadline_ms = 7;
  EXPECT_EQ(load()->at(0).policy.deadline_ms, 7U);
  service_.policy.cache_ttl_s = 8;
  EXPECT_EQ(load()->at(0).policy.cache_ttl_s, 8U);
}

TEST_F(ServicesTest, BatchesAreAsLargeAsConfiguredOrPlanned) {
  Config config;
  config.services = {service_};
  config.scheduler.batch_tokens_max = 100;
  auto services = Services::load(config, *backend_);
  ASSERT_TRUE(services) << services.error().message;
  EXPECT_EQ(services->batch_tokens_max(), 100U);
  config.scheduler.batch_tokens_max = 0;
  services = Services::load(config, *backend_);
  ASSERT_TRUE(services) << services.error().message;
  EXPECT_GE(services->batch_tokens_max(), services->tokens_max());
  EXPECT_LE(services->batch_tokens_max(), 4096U);
  config.scheduler.measure_ms = 0;
  services = Services::load(config, *backend_);
  ASSERT_TRUE(services) << services.error().message;
  EXPECT_THAT(services->batch_tokens_max(), ::testing::AnyOf(1024U, 2048U, 4096U));
}

TEST_F(ServicesTest, ALatencyTargetHoldsForAllServices) {
  Config config;
  config.services = {service_, service_};
  config.services[1].name = "urgent";
  auto services = Services::load(config, *backend_);
  ASSERT_TRUE(services) << services.error().message;
  services->at(0).batch_tokens = 4000;
  services->at(1).batch_tokens = 300;
  EXPECT_EQ(services->batch_tokens_max(), 4000U);
  services->at(1).policy.latency_target_ms = 50;
  EXPECT_EQ(services->batch_tokens_max(), 300U);
}

// docs/examples/legal-assistant.yaml, with small models in the places of its own.
TEST_F(ServicesTest, TheExampleOfALegalAssistantIsServed) {
  const testing::TempDir store;
  for (const auto& [entry, model] :
       {std::pair{"case-encoder", "tiny-bert"}, std::pair{"search-encoder", "tiny-bert"},
        std::pair{"consultation-classifier", "tiny-classifier"},
        std::pair{"clause-classifier", "tiny-classifier"},
        std::pair{"intent-classifier", "tiny-classifier"}}) {
    std::filesystem::copy(testing::data_path(model), store / entry,
                          std::filesystem::copy_options::recursive);
  }
  const std::string models = "--models=" + store.path();
  const char* const arguments[] = {
      "nacelled", "--config=" NACELLE_SOURCE_DIR "/docs/examples/legal-assistant.yaml",
      models.c_str(), nullptr};
  const char* const environment[] = {nullptr};
  const auto loaded = load_config(3, arguments, environment);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto services = Services::load(loaded->config, *backend_);
  ASSERT_TRUE(services) << services.error().message;
  ASSERT_EQ(services->size(), 5U);
  EXPECT_EQ(services->at(0).name, "case_analysis");
  EXPECT_EQ(services->at(0).policy.max_concurrent, 2U);
  EXPECT_EQ(services->at(0).policy.max_queue_size, 10U);
  EXPECT_EQ(services->at(4).policy.priority, Priority::kLow);
  EXPECT_TRUE(services->at(3).answers(shm::Op::kEmbed));
  EXPECT_TRUE(services->at(4).answers(shm::Op::kClassify));
}

TEST_F(ServicesTest, AQuantizedModelIsLoadedWithItsGatesReportOnly) {
  const std::string source = folder_.path();
  const testing::TempDir other;
  const std::string target = other / "int8";
  const auto layers = quantize::layers_of(source, *backend_);
  ASSERT_TRUE(layers);
  ASSERT_TRUE(quantize::convert({.source = source, .target = target, .layers = *layers}));
  service_.model = target;
  EXPECT_THAT(complaint(), HasSubstr("loading service tiny: " + target));
  EXPECT_THAT(complaint(), HasSubstr("nacellectl gate"));

  std::filesystem::remove_all(target);
  quantize::Comparison comparison{
      .source = source, .quantized = target, .inputs = {"a", "b c", "c d e"}};
  const auto quantized = [&] {
    return quantize::quantize(quantize::Scheme::kInt8, comparison, 0, *backend_);
  };
  comparison.thresholds.inputs_min = 3;
  ASSERT_TRUE(quantized());
  const auto services = load();
  ASSERT_TRUE(services) << services.error().message;
  EXPECT_EQ(services->at(0).model->info().precision, model::Precision::kInt8);

  // Too few inputs for the ordinary limits: the report refuses.
  std::filesystem::remove_all(target);
  comparison.thresholds = {};
  ASSERT_TRUE(quantized());
  EXPECT_THAT(complaint(), HasSubstr("gate.json refuses them: measured on 3 inputs"));
}

// What decides answers decides the digest; where the model lies, and what it is called, does not.
TEST_F(ServicesTest, TheAnswersDigestIsOfAllThatDecidesAnswers) {
  const auto digest = [&](const Service& service, std::uint32_t windows_max = 128) {
    Config config;
    config.services = {service};
    config.limits.windows_max = windows_max;
    config.scheduler.measure_ms = 0;
    auto loaded = Services::load(config, *backend_);
    if (!loaded) ADD_FAILURE() << loaded.error().message;
    CHECK(loaded.has_value());
    return loaded->at(0).answers_digest;
  };
  const std::string model = testing::data_path("tiny-bert");
  const auto plain = digest({.name = "a", .model = model});
  const testing::TempDir elsewhere;
  const std::string moved = elsewhere / "another name";
  std::filesystem::copy(model, moved, std::filesystem::copy_options::recursive);
  EXPECT_EQ(digest({.name = "b", .model = moved}), plain);
  EXPECT_EQ(digest({.name = "a", .model = model, .policy = {.max_concurrent = 1, .weight = 7}}),
            plain);

  EXPECT_NE(digest({.name = "a", .model = testing::data_path("tiny-classifier")}), plain);
  EXPECT_NE(digest({.name = "a", .model = model, .prompts = {{"p", "x"}}}), plain);
  EXPECT_NE(digest({.name = "a", .model = model, .prompts = {{"p", "x"}}}),
            digest({.name = "a", .model = model, .prompts = {{"p", "y"}}}));
  EXPECT_NE(digest({.name = "a", .model = model, .prompts = {{"p", "x"}}, .prompt_default = "p"}),
            digest({.name = "a", .model = model, .prompts = {{"p", "x"}}}));
  EXPECT_NE(digest({.name = "a", .model = model, .long_input = LongInputDefault::kReject}), plain);
  EXPECT_NE(digest({.name = "a", .model = model, .precision = ServicePrecision::kBf16}), plain);
  EXPECT_NE(digest({.name = "a", .model = model}, 64), plain);
  // A single bit of the weights.
  const std::string weights = moved + "/model.safetensors";
  const base::Fd file(::open(weights.c_str(), O_RDWR | O_CLOEXEC));
  char byte = 0;
  const off_t last = ::lseek(file.get(), -1, SEEK_END);
  ASSERT_EQ(::pread(file.get(), &byte, 1, last), 1);
  byte = static_cast<char>(byte ^ 1);
  ASSERT_EQ(::pwrite(file.get(), &byte, 1, last), 1);
  EXPECT_NE(digest({.name = "a", .model = moved}), plain);
}

}  // namespace
}  // namespace nacelle::sidecar
