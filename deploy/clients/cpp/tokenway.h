// What a program needs to call a Tokenway mesh: copy this file, tokenway.cc and google_rpc.proto, and compile protos/.

#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tokenway/router/v1/router.grpc.pb.h"

namespace tokenway {

// Why a call failed; what() is its message. `reason` is stable for programs: protos/tokenway/common/v1/error.proto
// lists them all. Without `retry_after` later is no better; `receipt` bills what came before the call failed.
struct Error : std::runtime_error {
  explicit Error(const grpc::Status& status);
  Error(std::string reason, const std::string& message) : std::runtime_error(message), reason(std::move(reason)) {}

  std::string reason;
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, std::string>> fields;  // path and description
  std::vector<std::pair<std::string, std::string>> quotas;  // subject and description
  std::optional<std::chrono::duration<double>> retry_after;
  std::string request_id;
  std::optional<common::v1::Receipt> receipt;
};

// An answer as it comes. Its end of life cancels the request, if that still runs. For one thread.
class Answer {
 public:
  Answer(router::v1::RouterService::Stub& router, const router::v1::GenerateRequest& question,
         std::unique_ptr<grpc::ClientContext> context);
  Answer(Answer&&) = default;
  ~Answer();

  // The next event: `started`, `delta` any number of times, `finished`; then false. Throws an Error, also for a stream
  // that ends without `finished`: that is not an answer.
  bool Next(router::v1::StreamGenerateResponse& event);

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<router::v1::StreamGenerateResponse>> reader_;
  bool finished_ = false;
};

// A router and the key to it. Over TLS, unless the router is on this machine and `ca_file` is not given: it names the
// authority of the router's certificate, default: those that gRPC trusts.
class Mesh {
 public:
  Mesh(const std::string& address, const std::string& key, const std::string& ca_file = "");

  // With a `traceparent` the request joins the caller's trace.
  Answer Stream(const router::v1::GenerateRequest& question, std::chrono::duration<double> timeout,
                const std::string& traceparent = "");

 private:
  std::string authorization_;
  std::unique_ptr<router::v1::RouterService::Stub> router_;
};

}  // namespace tokenway
