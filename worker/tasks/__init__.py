"""What a trained model is used for: each task turns windows of a data set into meshes or point clouds.

task = load_task(load_config("interpolation/oflow"), "model_best.pt", "cpu")   # worker.tasks.registry
output = task(dataset[0])
"""
