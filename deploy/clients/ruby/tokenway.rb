# What a program needs to call a Tokenway mesh: copy this file, and make the folder build/ from protos/ (Makefile).

$LOAD_PATH.unshift(File.join(__dir__, "build"))
require "google/protobuf/well_known_types"
require "google/rpc/error_details_pb"
require "google/rpc/status_pb"
require "grpc"
require "tokenway/router/v1/router_services_pb"

module Tokenway
  # Why a call failed. `reason` is stable for programs: protos/tokenway/common/v1/error.proto lists them all.
  # `retry_after_seconds` is nil where later is no better; `receipt` bills what was delivered before the call failed.
  class Error < StandardError
    attr_reader :reason, :metadata, :fields, :quotas, :retry_after_seconds, :request_id, :receipt

    # Of a GRPC::BadStatus. Where gRPC itself ended the call there are no details: then only the code's name is known.
    def self.from(failure)
      details = failure.to_rpc_status&.details.to_a
      find = ->(type) { details.find { |each| each.is(type) }&.unpack(type) }
      info = find[Google::Rpc::ErrorInfo]
      new(info ? info.reason : name_of(failure.code), failure.details,
          metadata: info&.metadata.to_h,
          fields: find[Google::Rpc::BadRequest]&.field_violations.to_a,
          quotas: find[Google::Rpc::QuotaFailure]&.violations.to_a,
          retry_after_seconds: find[Google::Rpc::RetryInfo]&.retry_delay&.to_f,
          request_id: find[Google::Rpc::RequestInfo]&.request_id,
          receipt: find[Common::V1::Receipt])
    end

    def self.name_of(code)
      GRPC::Core::StatusCodes.constants.find { |name| GRPC::Core::StatusCodes.const_get(name) == code }.to_s
    end
    private_class_method :name_of

    def initialize(reason, message, metadata: {}, fields: [], quotas: [], **rest)
      super(message)
      @reason, @metadata, @fields, @quotas = reason, metadata, fields, quotas
      @retry_after_seconds, @request_id, @receipt = rest.values_at(:retry_after_seconds, :request_id, :receipt)
    end
  end

  # A router and the key to it. Over TLS, unless the router is on this machine and `ca_file` is not given: it names the
  # authority of the router's certificate, default: those that grpc trusts.
  class Mesh
    THIS_MACHINE = /\A(unix:|localhost:|\[::1\]:|127(\.\d+){3}:)/

    def initialize(address, key:, ca_file: nil)
      @key = key
      plaintext = ca_file.nil? && address.match?(THIS_MACHINE)
      authority = [ca_file && File.read(ca_file)].compact
      credentials = plaintext ? :this_channel_is_insecure : GRPC::Core::ChannelCredentials.new(*authority)
      # The router tries again and falls back by itself; retries here would multiply with its own.
      @router = Router::V1::RouterService::Stub.new(address, credentials, channel_args: { "grpc.enable_retries" => 0 })
    end

    def inspect = "#<Tokenway::Mesh>" # not the key

    # Yields the events of an answer: `started`, `delta` any number of times, `finished`. Leaving the block cancels the
    # request. Raises a Tokenway::Error, also for a stream that ends without `finished`: that is not an answer.
    def stream(question, timeout_seconds: 60, traceparent: nil)
      request = Router::V1::StreamGenerateRequest.new(request: question)
      metadata = { "authorization" => "Bearer #{@key}", "traceparent" => traceparent }.compact
      last = nil
      # Left early, by `break` or an exception, grpc closes the call, which cancels it.
      @router.stream_generate(request, deadline: Time.now + timeout_seconds, metadata:) { |event| yield(last = event) }
      raise Error.new("STREAM_BROKEN", "the stream ended without `finished`") unless last&.event == :finished
    rescue GRPC::BadStatus => failure
      raise Error.from(failure)
    end
  end
end
