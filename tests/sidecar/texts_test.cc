// What applications can ask about texts, against what sentence-transformers recorded: reranking,
// kinds of embeddings, kinds of scores. And what they cannot ask.
#include "sidecar/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/element.h"
#include "shm/list_call.h"
#include "shm/pending.h"
#include "tests/sidecar/texts_fixture.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using shm::Element;
using shm::Function;
using shm::LongInput;
using shm::Op;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kClose = 1e-5;

class Texts : public TextsTest {
 protected:
  void SetUp() override {
    TextsTest::SetUp();
    ranks_ = testing::read_golden(testing::data_path("tiny-reranker/reference.json"));
    documents_ = ranks_["documents"].get<std::vector<std::string>>();
    embeddings_ = testing::read_golden(testing::data_path("tiny-bert/embeddings.json"));
  }
  [[nodiscard]] std::vector<std::string_view> documents() const {
    return {documents_.begin(), documents_.end()};
  }

  files::Json ranks_;
  std::vector<std::string> documents_;
  files::Json embeddings_;
};

TEST_F(Texts, RerankScoresAsCrossEncoderDoes) {
  start();
  const auto client = connect();
  for (const files::Json& item : ranks_["items"]) {
    const auto query = item["query"].get<std::string>();
    const auto ranking = client->rerank("rank", query, documents(), {.top = 3});
    ASSERT_TRUE(ranking) << ranking.error().message;
    EXPECT_LT(largest_difference(ranking->scores, numbers(item["scores"])), kClose) << query;
    EXPECT_EQ(ranking->best, item["top_3"].get<std::vector<std::uint32_t>>()) << query;
    const auto raw = client->rerank("rank", query, documents(), {.function = Function::kNone});
    ASSERT_TRUE(raw) << raw.error().message;
    EXPECT_LT(largest_difference(raw->scores, numbers(item["raw"])), kClose) << query;
    EXPECT_EQ(raw->best.size(), documents_.size());
    for (std::size_t i = 0; i < documents_.size(); ++i) {
      EXPECT_EQ(raw->items[i].tokens, item["ids"][i].size()) << query << i;
    }
  }
}

TEST_F(Texts, ALongListOfDocumentsGoesInSeveralRequestsTheQueryWithEach) {
  start();
  const auto whole = connect()->rerank("rank", "the cat", documents());
  pipeline_.reset();
  config_.limits.items_max = 3;
  start();
  const auto parts = connect()->rerank("rank", "the cat", documents(), {.top = 99});
  ASSERT_TRUE(whole && parts);
  EXPECT_EQ(whole->scores, parts->scores);
  EXPECT_EQ(whole->best, parts->best);

  pipeline_.reset();
  config_.limits.items_max = 1;
  start();
  const auto none = connect()->rerank("rank", "the cat", documents());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kTooLarge);
  EXPECT_THAT(none.error().message, HasSubstr("limits.items_max"));
}

TEST_F(Texts, ADocumentThatIsNotUtf8FailsAloneAndAQueryFailsTheCall) {
  start();
  const auto client = connect();
  const std::string_view texts[] = {"the cat", "ab\xff", "a film"};
  const auto ranking = client->rerank("rank", "the cat", texts);
  ASSERT_TRUE(ranking) << ranking.error().message;
  EXPECT_EQ(ranking->report.items_failed, 1U);
  EXPECT_EQ(ranking->items[1].code, static_cast<std::uint16_t>(Code::kInvalid));
  EXPECT_EQ(ranking->items[1].detail, 2U);
  EXPECT_TRUE(std::isnan(ranking->scores[1]));
  EXPECT_EQ(ranking->best.size(), 2U);
  EXPECT_EQ(std::count(ranking->best.begin(), ranking->best.end(), 1U), 0);

  const auto bad = client->rerank("rank", "cat \xff", texts);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, Code::kInvalid);
  EXPECT_THAT(bad.error().message, HasSubstr("the query is not UTF-8 at byte 4"));
  const auto empty = client->rerank("rank", "cat", {});
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().message, HasSubstr("the list of documents is empty"));
  const auto other = client->rerank("labels", "cat", texts);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("does not rerank"));
}

TEST_F(Texts, AQueryMayBeReadOnlySoOften) {
  start();
  const auto client = connect();
  std::string query;  // 32 times fit into kRepeatedMax
  while (query.size() < std::size_t{1} << 19) query += "a ";
  const std::vector<std::string_view> many(40, "the cat");
  const auto ranking = client->rerank("rank", query, many);
  ASSERT_TRUE(ranking) << ranking.error().message << ": the client sends it twice";
  EXPECT_EQ(ranking->scores, std::vector<float>(40, ranking->scores[0]));
  EXPECT_EQ(ranking->items[39].flags, shm::kItemTruncated);

  const auto link = raw();
  std::vector<std::string> texts(41, "the cat");
  texts[0] = query;
  const auto reply =
      ask(*link, {.op = Op::kRerank, .service = kRank, .items = 41}, text_list(texts));
  EXPECT_EQ(reply.code, Code::kTooLarge);
}

TEST_F(Texts, AClassifierOfOneLabelGivesItsSigmoid) {
  start();
  const auto client = connect();
  const std::string_view texts[] = {"the cat", "bad end!"};
  const auto scores = client->classify("rank", texts);
  const auto raw = client->classify("rank", texts, {.function = Function::kNone});
  ASSERT_TRUE(scores && raw);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR((*scores)[i].score, 1 / (1 + std::exp(-(*raw)[i].score)), 1e-6);
  }
}

TEST_F(Texts, ScoresAreWhatIsWantedBestFirst) {
  start();
  const auto client = connect();
  const std::string_view texts[] = {"good film, bad end", "the cat sat"};
  const auto raw = client->classify("labels", texts, {.function = Function::kNone, .top = 2});
  const auto own = client->classify("labels", texts);
  const auto sigmoid = client->classify("labels", texts, {.function = Function::kSigmoid});
  const auto softmax = client->classify("labels", texts, {.function = Function::kSoftmax});
  ASSERT_TRUE(raw && own && sigmoid && softmax);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::vector<float>& logits = (*raw)[i].scores;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    for (std::size_t label = 0; label < 3; ++label) {
      EXPECT_NEAR((*sigmoid)[i].scores[label], 1 / (1 + std::exp(-double{logits[label]})), 1e-6);
      EXPECT_NEAR((*softmax)[i].scores[label], std::exp(double{logits[label]}) / sum, 1e-6);
    }
    EXPECT_EQ((*own)[i].scores, (*sigmoid)[i].scores) << "its labels are independent";
    const auto& best = (*raw)[i].best;
    ASSERT_EQ(best.size(), 2U);
    EXPECT_EQ(logits[best[0]], *std::max_element(logits.begin(), logits.end()));
    EXPECT_GE(logits[best[0]], logits[best[1]]);
    EXPECT_EQ((*own)[i].best.size(), 3U);
  }
}

TEST_F(Texts, TheBestAreSortedEqualOnesInTheirOrderAndNansLeftOut) {
  const float nan = std::nanf("");
  EXPECT_THAT(best_of(std::vector<float>{1, 3, nan, 3, 2}), ElementsAre(1, 3, 4, 0));
  EXPECT_THAT(best_of(std::vector<float>{1, 3, nan, 3, 2}, 2), ElementsAre(1, 3));
  EXPECT_THAT(best_of(std::vector<float>{1, nan}, 4'000'000'000U), ElementsAre(0));
  EXPECT_THAT(best_of({}), ElementsAre());
}

TEST_F(Texts, EmbeddingsAreThoseOfSentenceTransformers) {
  start();
  const auto client = connect();
  const std::uint32_t dimensions = embeddings_["dimensions"].get<std::uint32_t>();
  for (const files::Json& item : embeddings_["items"]) {
    const auto text = item["text"].get<std::string>();
    const std::string_view texts[] = {text};
    const auto ask = [&](const CallOptions& options) {
      const auto rows = client->embed("embed", texts, options);
      if (!rows) ADD_FAILURE() << rows.error().message;
      CHECK(rows.has_value());
      return *rows;
    };
    const auto codes = [&](const CallOptions& options) {
      std::vector<int> out;
      for (const std::byte byte : ask(options).encoded) {
        const auto code = static_cast<std::uint8_t>(byte);
        out.push_back(options.dtype == Element::kUbinary ? int{code}
                                                         : int{static_cast<std::int8_t>(code)});
      }
      return out;
    };
    const std::vector<float> plain = row(ask({}), 0);
    EXPECT_LT(largest_difference(plain, numbers(item["float32"])), kClose) << text;
    EXPECT_LT(largest_difference(row(ask({.normalize = shm::Normalize::kOff}), 0),
                                 numbers(item["unscaled"])),
              1e-4)
        << text;
    EXPECT_EQ(row(ask({.normalize = shm::Normalize::kOn}), 0), plain) << text;
    EXPECT_LT(largest_difference(row(ask({.prompt_name = "task"}), 0), numbers(item["prompted"])),
              kClose)
        << text;
    EXPECT_EQ(row(ask({.prompt = "this is a text: "}), 0), row(ask({.prompt_name = "task"}), 0));
    EXPECT_EQ(row(ask({.prompt = ""}), 0), plain);
    EXPECT_EQ(row(ask({.prompt_name = "none"}), 0), plain);
    const Rows shortened = ask({.dimensions = dimensions});
    EXPECT_EQ(shortened.width, dimensions);
    EXPECT_LT(largest_difference(shortened.values, numbers(item["short"])), kClose) << text;

    const Rows halves = ask({.dtype = Element::kFloat16});
    ASSERT_EQ(halves.encoded.size(), plain.size() * 2);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, halves.encoded.data() + 2 * i, 2);
      EXPECT_LE(std::abs(kernels::float_from_f16(bits) - plain[i]), std::abs(plain[i]) / 2048);
    }
    const std::vector<int> eights = codes({.dtype = Element::kInt8});
    const auto recorded = item["int8"].get<std::vector<int>>();
    float most = 0;
    for (const float number : plain) most = std::max(most, std::abs(number));
    for (std::size_t i = 0; i < plain.size(); ++i) {
      EXPECT_EQ(eights[i], static_cast<int>(std::nearbyint(plain[i] / most * 127.0F)));
      EXPECT_NEAR(eights[i], recorded[i], 1) << text;  // of a float that may differ in its last bit
    }
    EXPECT_EQ(codes({.dtype = Element::kBinary}), item["binary"].get<std::vector<int>>()) << text;
    EXPECT_EQ(codes({.dtype = Element::kUbinary}), item["ubinary"].get<std::vector<int>>()) << text;
    EXPECT_EQ(codes({.dtype = Element::kUbinary, .dimensions = dimensions}),
              item["short_ubinary"].get<std::vector<int>>())
        << text;
  }
}

TEST_F(Texts, AServicesPromptIsForCallsThatNameNone) {
  start();
  const auto client = connect();
  const std::string_view texts[] = {"the cat"};
  const auto prompted = client->embed("prompted", texts);
  const auto none = client->embed("prompted", texts, {.prompt = ""});
  const auto by_hand = client->embed("embed", texts, {.prompt = "this is a text: "});
  const auto plain = client->embed("embed", texts);
  ASSERT_TRUE(prompted && none && by_hand && plain);
  EXPECT_EQ(prompted->values, by_hand->values);
  EXPECT_EQ(none->values, plain->values);
  EXPECT_NE(plain->values, prompted->values);
  const auto unknown = client->embed("embed", texts, {.prompt_name = "nothing"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::kNotFound);
  EXPECT_THAT(unknown.error().message, HasSubstr("no prompt \"nothing\"; there are: none, task"));
  // The offset is in the caller's text.
  const std::string_view bad[] = {"a\xff"};
  const auto rows = client->embed("prompted", bad);
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->items[0].detail, 1U);
}

TEST_F(Texts, ADescriptionSaysWhatAServiceDoes) {
  start();
  const auto client = connect();
  const auto rank = client->describe("rank");
  const auto prompted = client->describe("prompted");
  const auto strict = client->describe("strict");
  ASSERT_TRUE(rank && prompted && strict);
  EXPECT_TRUE((*rank)->reranks);
  EXPECT_EQ((*rank)->long_input, LongInput::kTruncate);
  EXPECT_FALSE((*prompted)->reranks);
  EXPECT_THAT((*prompted)->prompts, ElementsAre("task"));
  EXPECT_EQ((*prompted)->long_input, LongInput::kChunkMean);
  EXPECT_EQ((*prompted)->windows_max, 128U);
  EXPECT_EQ((*strict)->long_input, LongInput::kReject);
  EXPECT_EQ((*strict)->labels.size(), 3U);
}

// Both transports, waiting and not.
TEST_F(Texts, EveryWayOfAskingGivesTheSameBytes) {
  start();
  const auto shared = connect();
  auto carried = Client::connect({.socket = config_.socket, .transport = "socket"});
  ASSERT_TRUE(carried) << carried.error().message;
  const std::string query = "the cat";
  const CallOptions options{.function = Function::kNone};
  const auto first = shared->rerank("rank", query, documents(), options);
  const auto second = (*carried)->rerank("rank", query, documents(), options);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->scores, second->scores);

  std::vector<std::string_view> texts = documents();
  texts.insert(texts.begin(), query);
  for (Client* client : {shared.get(), carried->get()}) {
    std::vector<float> scores(documents_.size());
    std::vector<shm::ItemReport> items(documents_.size());
    auto pending = client->start(Op::kRerank, "rank", texts, scores, items, options);
    ASSERT_TRUE(pending) << pending.error().message;
    for (;;) {
      const auto done = (*pending)->advance();
      ASSERT_TRUE(done) << done.error().message;
      if (*done) break;
      pollfd fd{(*pending)->fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&fd, 1, 20'000), 1);
    }
    EXPECT_EQ(scores, first->scores);
    // A prompt's bytes may go once the call has begun.
    const std::string_view one[] = {"the cat"};
    const auto wanted = client->embed("embed", one, {.prompt_name = "task"});
    std::vector<float> row(32);
    auto prompt = std::make_unique<std::string>("this is a text: ");
    auto started = client->start(Op::kEmbed, "embed", {one[0]}, row, {}, {.prompt = *prompt});
    std::fill(prompt->begin(), prompt->end(), 'x');
    prompt.reset();
    ASSERT_TRUE(started) << started.error().message;
    for (;;) {
      const auto done = (*started)->advance();
      ASSERT_TRUE(done) << done.error().message;
      if (*done) break;
      pollfd fd{(*started)->fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&fd, 1, 20'000), 1);
    }
    EXPECT_EQ(row, wanted->values);
  }
}

TEST_F(Texts, AnOlderSidecarIsNotAskedForWhatItDoesNotKnow) {
  start();
  shm::Hello older;
  older.version_minor = 1;  // so that 1.1 is spoken
  const auto link = shm::Link::open(config_.socket, older, base::now_ns() + 10 * base::kSecond);
  ASSERT_TRUE(link) << link.error().message;
  EXPECT_EQ((*link)->version_minor(), 1);
  const std::string_view texts[] = {"a", "b"};
  EXPECT_TRUE(shm::check_list(**link, Op::kEmbed, texts, {}));
  EXPECT_TRUE(shm::check_list(**link, Op::kClassify, texts, {.top = 1}));
  for (const CallOptions& options :
       {CallOptions{.dtype = Element::kInt8}, CallOptions{.dimensions = 8},
        CallOptions{.normalize = shm::Normalize::kOff}, CallOptions{.prompt = ""},
        CallOptions{.prompt_name = "x"}, CallOptions{.long_input = LongInput::kReject}}) {
    EXPECT_EQ(shm::check_list(**link, Op::kEmbed, texts, options).error().code,
              Code::kVersionMismatch);
  }
  const base::Status rerank = shm::check_list(**link, Op::kRerank, texts, {});
  ASSERT_FALSE(rerank);
  EXPECT_THAT(rerank.error().message, HasSubstr("need 1.2: update the sidecar"));
  EXPECT_EQ(raw()->version_minor(), 3);
}

// The bytes of a request with these parameters and one text.
std::string with_parameters(shm::Parameters parameters, const std::string& prompt = "",
                            const std::vector<std::string>& texts = {"the cat"}) {
  if (parameters.prompt_size == 0) {
    parameters.prompt_size = static_cast<std::uint32_t>(prompt.size());
  }
  std::string payload(reinterpret_cast<const char*>(&parameters), sizeof parameters);
  return payload + prompt + text_list(texts);
}

struct Lie {
  const char* what;
  Op op;
  std::uint32_t service;
  shm::Parameters parameters;
  Code code;
  const char* says;
  std::string prompt = "";
};

TEST_F(Texts, ParametersThatCannotBeAreRefusedInWords) {
  start();
  const auto link = raw();
  const auto odd = [](auto value) { return static_cast<decltype(value)>(200); };
  const Lie lies[] = {
      {"dtype", Op::kEmbed, 0, {.element = odd(Element{})}, Code::kInvalid, "dtype 200"},
      {"the first dtype there is not",
       Op::kEmbed,
       0,
       {.element = static_cast<Element>(shm::kElementsEnd)},
       Code::kInvalid,
       "dtype 5"},
      {"normalize",
       Op::kEmbed,
       0,
       {.normalize = odd(shm::Normalize{})},
       Code::kInvalid,
       "normalize 200"},
      {"function", Op::kClassify, 1, {.function = odd(Function{})}, Code::kInvalid, "function 200"},
      {"long_input",
       Op::kEmbed,
       0,
       {.long_input = odd(LongInput{})},
       Code::kInvalid,
       "long_input 200"},
      {"prompt", Op::kEmbed, 0, {.prompt = odd(shm::Prompt{})}, Code::kInvalid, "prompt 200"},
      {"reserved", Op::kEmbed, 0, {.reserved = {0, 0, 1}}, Code::kInvalid, "update the sidecar"},
      {"reserved1",
       Op::kEmbed,
       0,
       {.reserved1 = {0, 0, 0, 1}},
       Code::kInvalid,
       "update the sidecar"},
      {"one dimension too many",
       Op::kEmbed,
       0,
       {.dimensions = 33},
       Code::kInvalid,
       "dimensions is 33; an embedding has 32"},
      {"dimensions", Op::kEmbed, 0, {.dimensions = UINT32_MAX}, Code::kInvalid, "dimensions is"},
      {"bits",
       Op::kEmbed,
       0,
       {.element = Element::kBinary, .dimensions = 12},
       Code::kInvalid,
       "multiple of 8"},
      {"prompt_size",
       Op::kEmbed,
       0,
       {.prompt = shm::Prompt::kText, .prompt_size = 1000},
       Code::kInvalid,
       "reaches past the payload"},
      {"a prompt_size that wraps",
       Op::kEmbed,
       0,
       {.prompt = shm::Prompt::kText, .prompt_size = UINT32_MAX},
       Code::kInvalid,
       "reaches past the payload"},
      {"a long prompt",
       Op::kEmbed,
       0,
       {.prompt = shm::Prompt::kText},
       Code::kTooLarge,
       "the limit is 4096",
       std::string(4097, 'p')},
      {"a prompt that is not UTF-8",
       Op::kEmbed,
       0,
       {.prompt = shm::Prompt::kText},
       Code::kInvalid,
       "the prompt is not UTF-8 at byte 1",
       "a\xff"},
      {"a prompt of no kind", Op::kEmbed, 0, {}, Code::kInvalid, "of no kind", "p"},
      {"a prompt's name",
       Op::kEmbed,
       0,
       {.prompt = shm::Prompt::kName},
       Code::kNotFound,
       "no prompt \"\""},
      {"a prompt for labels", Op::kClassify, 1, {}, Code::kInvalid, "for embed only", "p"},
      {"a dtype for labels",
       Op::kClassify,
       1,
       {.element = Element::kInt8},
       Code::kInvalid,
       "for embed only"},
      {"dimensions for labels",
       Op::kClassify,
       1,
       {.dimensions = 1},
       Code::kInvalid,
       "for embed only"},
      {"a function for vectors",
       Op::kEmbed,
       0,
       {.function = Function::kNone},
       Code::kInvalid,
       "for classify and rerank only"},
      {"a rerank in parts",
       Op::kRerank,
       3,
       {.long_input = LongInput::kChunkMean},
       Code::kInvalid,
       "does not cut documents"},
  };
  for (const Lie& lie : lies) {
    const std::vector<std::string> texts(lie.op == Op::kRerank ? 2 : 1, "the cat");
    const std::string payload = with_parameters(lie.parameters, lie.prompt, texts);
    const auto ticket = send(*link,
                             {.op = lie.op,
                              .flags = shm::kRequestParameters,
                              .service = lie.service,
                              .items = static_cast<std::uint32_t>(texts.size())},
                             payload);
    ASSERT_TRUE(ticket) << lie.what;
    const auto answer = link->wait(*ticket);
    ASSERT_TRUE(answer) << lie.what;
    EXPECT_EQ(answer->fields.code, lie.code) << lie.what;
    EXPECT_THAT(shm::error_of(*answer).message, HasSubstr(lie.says)) << lie.what;
    link->finish(*ticket);
  }
}

TEST_F(Texts, PayloadsThatAreCutOffAreRefused) {
  start();
  const auto link = raw();
  const std::string whole = with_parameters({.prompt = shm::Prompt::kText}, "a prompt");
  const shm::CallFields fields{
      .op = Op::kEmbed, .flags = shm::kRequestParameters, .service = kEmbedder, .items = 1};
  EXPECT_EQ(ask(*link, fields, whole).code, Code::kOk);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(ask(*link, fields, whole.substr(0, size)).code, Code::kInvalid) << size;
  }
  EXPECT_EQ(ask(*link, fields, whole + "x").code, Code::kInvalid);
  shm::CallFields flags = fields;
  for (const std::uint16_t odd :
       std::initializer_list<std::uint16_t>{10, 11, 0x10, 0x8000, 0xFFFF}) {
    flags.flags = odd;
    EXPECT_EQ(ask(*link, flags, whole).code, Code::kInvalid) << odd;
  }
  // Only a query; a query and documents that are not there.
  const shm::CallFields rerank{.op = Op::kRerank, .service = kRank, .items = 1};
  EXPECT_EQ(ask(*link, rerank, text_list({"query"})).code, Code::kInvalid);
  EXPECT_EQ(ask(*link, {.op = Op::kRerank, .service = kRank, .items = 0}, "").code, Code::kInvalid);
  EXPECT_EQ(ask(*link, {.op = Op::kRerank, .service = kRank, .items = 3},
                text_list({"query", "document"}))
                .code,
            Code::kInvalid);
  EXPECT_EQ(ask(*link, {.op = Op::kRerank, .service = kEmbedder, .items = 2},
                text_list({"query", "document"}))
                .code,
            Code::kInvalid);
  const auto good = ask(*link, {.op = Op::kRerank, .service = kRank, .items = 2},
                        text_list({"query", "document"}));
  EXPECT_EQ(good.code, Code::kOk);
  EXPECT_EQ(good.items, 1U);
}

}  // namespace
}  // namespace nacelle::sidecar
