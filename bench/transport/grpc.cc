// transport_grpc: unary calls over a Unix socket, with the blocking interface on both sides, and
// with completion queues on both. Which is faster depends on the machine, so both are measured.
#include <grpcpp/grpcpp.h>
#include <null.grpc.pb.h>  // made from null.proto

#include <mutex>
#include <vector>

#include "bench/transport/way.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;

void fill(const NullRequest& request, NullReply& reply) {
  if (request.payload().size() != kRequestSize) return;
  const auto* bytes = reinterpret_cast<const std::byte*>(request.payload().data());
  std::string& out = *reply.mutable_payload();
  out.resize(wanted_size(bytes));
  make_reply(bytes, reinterpret_cast<std::byte*>(out.data()), out.size());
}

std::string address_in(const std::string& folder) { return "unix:" + folder + "/socket"; }

class Blocking final : public Null::Service {
  grpc::Status Ask(grpc::ServerContext* /*context*/, const NullRequest* request,
                   NullReply* reply) override {
    fill(*request, *reply);
    return grpc::Status::OK;
  }
};

void tune(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_OPTIMIZATION_TARGET, "latency");
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CENSUS, 0);
}

base::Status serve_blocking(const std::string& folder, const Ready& ready) {
  Blocking service;
  grpc::ServerBuilder builder;
  tune(builder);
  builder.AddListeningPort(address_in(folder), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return Error{Code::kUnavailable, "gRPC: cannot listen"};
  ready(address_in(folder));
  server->Wait();
  return base::ok();
}

// A call that the server waits for, has, or has answered.
class Pending {
 public:
  Pending(Null::AsyncService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue), writer_(&context_) {
    service_.RequestAsk(&context_, &request_, &writer_, &queue_, &queue_, this);
  }
  void go_on(bool good) {
    if (!good || answered_) {
      delete this;
      return;
    }
    new Pending(service_, queue_);  // for the next call
    fill(request_, reply_);
    answered_ = true;
    writer_.Finish(reply_, grpc::Status::OK, this);
  }

 private:
  Null::AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  NullRequest request_;
  NullReply reply_;
  grpc::ServerAsyncResponseWriter<NullReply> writer_;
  bool answered_ = false;
};

base::Status serve_queue(const std::string& folder, const Ready& ready) {
  Null::AsyncService service;
  grpc::ServerBuilder builder;
  tune(builder);
  builder.AddListeningPort(address_in(folder), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return Error{Code::kUnavailable, "gRPC: cannot listen"};
  for (int i = 0; i < 16; ++i) new Pending(service, *queue);  // each deletes itself
  ready(address_in(folder));
  void* tag = nullptr;
  bool good = false;
  while (queue->Next(&tag, &good)) static_cast<Pending*>(tag)->go_on(good);
  return base::ok();
}

class GrpcCaller : public Caller {
 public:
  GrpcCaller(const std::string& at, bool blocking) : blocking_(blocking) {
    grpc::ChannelArguments arguments;
    arguments.SetString(GRPC_ARG_OPTIMIZATION_TARGET, "latency");
    arguments.SetInt(GRPC_ARG_ENABLE_CENSUS, 0);
    // A connection of its own, not one that the process shares.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ =
        Null::NewStub(grpc::CreateCustomChannel(at, grpc::InsecureChannelCredentials(), arguments));
  }

  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    grpc::ClientContext context;
    request_.set_payload(request.data(), request.size());
    grpc::Status status;
    if (blocking_) {
      status = stub_->Ask(&context, request_, &reply_);
    } else {
      const auto reader = stub_->AsyncAsk(&context, request_, &queue_);
      reader->Finish(&reply_, &status, this);
      void* tag = nullptr;
      bool good = false;
      if (!queue_.Next(&tag, &good)) return Error{Code::kUnavailable, "gRPC: the queue ended"};
    }
    if (!status.ok()) return Error{Code::kUnavailable, "gRPC: " + status.error_message()};
    if (reply_.payload().size() != reply.size()) {
      return Error{Code::kInternal, "gRPC: the reply has another size"};
    }
    std::memcpy(reply.data(), reply_.payload().data(), reply.size());
    return base::ok();
  }

 private:
  const bool blocking_;
  std::unique_ptr<Null::Stub> stub_;
  grpc::CompletionQueue queue_;
  NullRequest request_;
  NullReply reply_;
};

base::Result<std::unique_ptr<Caller>> connect_blocking(const std::string& at) {
  return std::unique_ptr<Caller>(std::make_unique<GrpcCaller>(at, true));
}

base::Result<std::unique_ptr<Caller>> connect_queue(const std::string& at) {
  return std::unique_ptr<Caller>(std::make_unique<GrpcCaller>(at, false));
}

}  // namespace

std::span<const Way> ways() {
  static constexpr Way kWays[] = {{"grpc_blocking", serve_blocking, connect_blocking},
                                  {"grpc_queue", serve_queue, connect_queue}};
  return kWays;
}

}  // namespace nacelle::bench
