"""``python -m services.inference --config FILE --model NAME --replica N``: one replica of one model."""

if __name__ == "__main__":
    from libs.rpc.process import run
    from services.inference.config import InferenceConfig
    from services.inference.server import serve

    run("inference", InferenceConfig.from_settings, serve, options=("model", "replica"))
