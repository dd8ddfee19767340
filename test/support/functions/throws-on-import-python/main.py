print("importing")
raise ValueError("thrown while importing")
