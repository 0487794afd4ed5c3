#include "tokenway.h"

#include <fstream>
#include <iterator>
#include <regex>

#include "google_rpc.pb.h"

namespace tokenway {
namespace {

std::string Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(const std::string& address, const std::string& ca_file) {
  static const std::regex this_machine(R"((unix:|localhost:|\[::1\]:|127(\.\d+){3}:).*)");
  if (ca_file.empty() && std::regex_match(address, this_machine)) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  if (!ca_file.empty()) options.pem_root_certs = Read(ca_file);
  return grpc::SslCredentials(options);
}

std::string NameOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED: return "CANCELLED";
    case grpc::StatusCode::DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::UNAVAILABLE: return "UNAVAILABLE";
    case grpc::StatusCode::UNIMPLEMENTED: return "UNIMPLEMENTED";
    default: return "gRPC code " + std::to_string(code);
  }
}

}  // namespace

// Where gRPC itself ended the call there are no details: then the status code is all that is known.
Error::Error(const grpc::Status& status)
    : std::runtime_error(status.error_message()), reason(NameOf(status.error_code())) {
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return;
  for (const auto& detail : rich.details()) {
    if (google::rpc::ErrorInfo info; detail.UnpackTo(&info)) {
      reason = info.reason();
      metadata = {info.metadata().begin(), info.metadata().end()};
    } else if (google::rpc::BadRequest bad; detail.UnpackTo(&bad)) {
      for (const auto& each : bad.field_violations()) fields.emplace_back(each.field(), each.description());
    } else if (google::rpc::QuotaFailure quota; detail.UnpackTo(&quota)) {
      for (const auto& each : quota.violations()) quotas.emplace_back(each.subject(), each.description());
    } else if (google::rpc::RetryInfo retry; detail.UnpackTo(&retry)) {
      retry_after.emplace(retry.retry_delay().seconds() + retry.retry_delay().nanos() / 1e9);
    } else if (google::rpc::RequestInfo request; detail.UnpackTo(&request)) {
      request_id = request.request_id();
    } else if (common::v1::Receipt billed; detail.UnpackTo(&billed)) {
      receipt = billed;
    }
  }
}

Answer::Answer(router::v1::RouterService::Stub& router, const router::v1::GenerateRequest& question,
               std::unique_ptr<grpc::ClientContext> context)
    : context_(std::move(context)) {
  router::v1::StreamGenerateRequest request;
  *request.mutable_request() = question;
  reader_ = router.StreamGenerate(context_.get(), request);
}

Answer::~Answer() {
  if (!reader_) return;  // ended, or moved from
  context_->TryCancel();
  reader_->Finish();
}

bool Answer::Next(router::v1::StreamGenerateResponse& event) {
  if (!reader_) return false;
  if (reader_->Read(&event)) {
    finished_ = event.has_finished();
    return true;
  }
  const grpc::Status status = reader_->Finish();
  reader_.reset();
  if (!status.ok()) throw Error(status);
  if (!finished_) throw Error("STREAM_BROKEN", "the stream ended without `finished`");
  return false;
}

Mesh::Mesh(const std::string& address, const std::string& key, const std::string& ca_file)
    : authorization_("Bearer " + key) {
  grpc::ChannelArguments arguments;
  // The router tries again and falls back by itself; retries here would multiply with its own.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  const auto channel = grpc::CreateCustomChannel(address, Credentials(address, ca_file), arguments);
  router_ = router::v1::RouterService::NewStub(channel);
}

Answer Mesh::Stream(const router::v1::GenerateRequest& question, std::chrono::duration<double> timeout,
                    const std::string& traceparent) {
  auto context = std::make_unique<grpc::ClientContext>();
  using std::chrono::system_clock;
  context->set_deadline(system_clock::now() + std::chrono::duration_cast<system_clock::duration>(timeout));
  context->AddMetadata("authorization", authorization_);
  if (!traceparent.empty()) context->AddMetadata("traceparent", traceparent);
  return Answer(*router_, question, std::move(context));
}

}  // namespace tokenway
