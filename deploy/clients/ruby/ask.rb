# Asks a mesh one question: the answer on standard output as it comes, receipt or error on standard error.
# See README.md for the options and what is read from the environment.

require "optparse"
require_relative "tokenway"

options = { model: "", "max-tokens": 512, timeout: 60.0, "stop-after": Float::INFINITY, ca: nil }
OptionParser.new("usage: ruby ask.rb [OPTIONS] QUESTION") do |parser|
  parser.on("--model NAME") # without it the mesh chooses
  parser.on("--max-tokens N", Integer)
  parser.on("--timeout SECONDS", Float)
  parser.on("--stop-after DELTAS", Integer)
  parser.on("--ca FILE")
end.parse!(into: options)
address, key, traceparent = ENV.values_at("TOKENWAY_ROUTER", "TOKENWAY_API_KEY", "TRACEPARENT")

def receipt(finished)
  receipt, usage = finished.receipt, finished.receipt.usage
  "\n#{receipt.model}: #{usage.input_tokens} + #{usage.output_tokens} tokens, " \
    "#{receipt.cost_micro_usd} micro-dollars, #{finished.finish_reason}, request #{receipt.request_id}"
end

def explanation(error)
  ["\n#{error.reason}: #{error.message}",
   *error.fields.map { |each| "  #{each.field}: #{each.description}" },
   *error.quotas.map { |each| "  #{each.subject}: #{each.description}" },
   *error.retry_after_seconds&.then { |seconds| "  try again in #{seconds} s" },
   *error.receipt&.then { |receipt| "  billed: #{receipt.cost_micro_usd} micro-dollars" },
   *error.request_id&.then { |id| "  request #{id}" }]
end

$stdout.sync = true
mesh = Tokenway::Mesh.new(address || "127.0.0.1:50051", key: key, ca_file: options[:ca])
message = Tokenway::Common::V1::Message.new(role: :ROLE_USER, parts: [{ text: ARGV.join(" ") }])
question = Tokenway::Router::V1::GenerateRequest.new(
  model: options[:model], conversation: { messages: [message] },
  sampling: { temperature: 0, max_tokens: options[:"max-tokens"] }
)
deltas = 0
begin
  mesh.stream(question, timeout_seconds: options[:timeout], traceparent:) do |event|
    print event.delta.text.join if event.delta
    warn receipt(event.finished) if event.finished
    break if event.delta && (deltas += 1) >= options[:"stop-after"] # cancels: the engine stops; what came is billed
  end
rescue Tokenway::Error => error
  abort explanation(error).join("\n") # which rule or limit, what to do, when to try again
end
