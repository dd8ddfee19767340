def lambda_handler(event, context):
    print("started", flush=True)
    while True:
        pass
