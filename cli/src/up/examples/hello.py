def main(name: str = "world"):
    print(f"greeting {name}")
    return {"greeting": f"Hello, {name}!"}
